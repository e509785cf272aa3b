"""`python -m weightdrop_serving [VLLM ARGUMENTS]`: the image's entry point."""

from __future__ import annotations

import sys

from weightdrop_serving.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
