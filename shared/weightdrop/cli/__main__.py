"""`python -m weightdrop.cli`, which needs no script on the path."""

from weightdrop.cli.main import main

if __name__ == "__main__":
    main()
