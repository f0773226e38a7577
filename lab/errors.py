"""Errors of the lab.

LabError
  DataError    texts that cannot be read or lack what training needs (also a ValueError)
  ModelError   a model or tokenizer that cannot be trained as asked (also a ValueError)
"""


class LabError(Exception):
    """Base of all errors of the lab."""


class DataError(LabError, ValueError):
    """Texts that cannot be read, or that lack what training needs."""


class ModelError(LabError, ValueError):
    """A model or a tokenizer that cannot be trained in the way that was asked for."""
