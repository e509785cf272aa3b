"""The weightdrop command."""
