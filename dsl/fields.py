"""The fields that queries, selector filters and `--sort` know, with what their values are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

FieldKind: TypeAlias = Literal["text", "number", "flag", "language", "date"]
"""A language is compared in its normal form; a date is a text with an order: 2026-01-31."""

FIELDS: Mapping[str, FieldKind] = MappingProxyType(
    {
        "name": "text",
        "kind": "text",
        "language": "language",
        "task": "text",
        "dataset": "text",
        "dataset_revision": "text",
        "objective": "text",
        "base": "text",
        "base_revision": "text",
        "peft": "text",
        "rank": "number",
        "alpha": "number",
        "parameters": "number",
        "dtype": "text",
        "steps": "number",
        "batch_size": "number",
        "learning_rate": "number",
        "seed": "number",
        "license": "text",
        "note": "text",
        "source": "text",
        "digest": "text",
        "config_digest": "text",
        "size": "number",
        "version": "number",
        "created": "date",
        "here": "flag",
        "withdrawn": "flag",
    }
)
