"""Turns Debian's translated package descriptions into a data set: description -> synopsis.

Human-written and human-translated, one line that says what several paragraphs say, in some fifteen
languages, and an ordinary package client fetches it. `python -m isogloss.lab.debian FOLDER` does
the whole; see README.md beside this file.
"""

from .files import fetch_descriptions, find_descriptions
from .pairs import Dataset, Limits, Pair, make_dataset, stem_of
from .stanzas import Description, read_descriptions

__all__ = [
    "Dataset",
    "Description",
    "Limits",
    "Pair",
    "fetch_descriptions",
    "find_descriptions",
    "make_dataset",
    "read_descriptions",
    "stem_of",
]
