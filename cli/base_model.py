"""The base model of a command that trains, scores, writes or merges: options and meaning."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from .errors import InputError
from .options import Options, text_option

if TYPE_CHECKING:
    from ..hub import AdapterHub
    from ..hub.composition import Request
    from ..lab.models.base import Base
    from ..lab.training.request import BaseChoice


def base_options(required: bool = True) -> Options:
    """Options that say which base model is loaded, and how."""
    default = "" if required else "  [default: the one of the adapter's configuration]"
    return (
        text_option(
            "--base",
            metavar="MODEL",
            required=required,
            help=f"Base model: an id at the Hub, a folder, or a GGUF file.{default}",
        ),
        text_option(
            "--base-name",
            metavar="NAME",
            help="What adapters call this base.  [default: the id, or the absolute path]",
        ),
        text_option("--revision", metavar="REVISION", help="Commit or tag of the base at the Hub."),
        click.option(
            "--dtype",
            type=click.Choice(("float32", "bfloat16", "float16", "auto")),
            help="Number format of the base; auto is that of its files."
            "  [default: float32; bfloat16 on a GPU that can]",
        ),
        text_option(
            "--device",
            metavar="NAME",
            help="cpu, cuda, or cuda:1 (not to train on).  [default: a GPU, if there is one]",
        ),
    )


def needs_lab(*more: str) -> None:
    """Say what to install where the libraries of the lab are not there.

    Args:
        more: others than those that load and adapt a model.

    Raises:
        InputError: they are not.
    """
    try:
        for name in ("peft", "transformers", *more):
            import_module(name)
    except ImportError as error:
        raise InputError(
            f"this needs {error.name}, which is not installed: pip install 'isogloss[lab]'"
        ) from error


def load_given(given: dict[str, Any]) -> Base:
    """Take the base model out of a command's options, and load it."""
    from ..lab.models.base import load_base

    return load_base(given.pop("base"), **_how(given))


def choose_given(given: dict[str, Any]) -> BaseChoice:
    """Take the base model out of a command's options, without loading it."""
    from ..lab.training.request import choose_base

    return choose_base(given.pop("base"), **_how(given))


def _how(given: dict[str, Any]) -> dict[str, Any]:
    said = {name: given.pop(name) for name in ("revision", "dtype", "device")}
    return said | {"name": given.pop("base_name")}


def for_base(hub: AdapterHub, request: Request, given: dict[str, Any]) -> Request:
    """Let selectors mean adapters of the base that is loaded, where the catalogue knows it."""
    from ..lab.models.base import base_name

    name = given["base_name"] or base_name(given["base"])
    if request.context.base is None and hub.catalog.find(("compare", "base", "=", name), limit=1):
        return replace(request, context=replace(request.context, base=name))
    return request
