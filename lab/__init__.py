"""Training of language and task vectors, and the experiments made with them (extra: lab)."""

from .errors import DataError, LabError, ModelError

__all__ = ["DataError", "LabError", "ModelError"]
