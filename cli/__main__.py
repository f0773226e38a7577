"""Lets `python -m isogloss.cli` do what `isogloss` does."""

from .main import main

main(prog_name="isogloss")
