"""A PEFT folder on disk: its configuration, and what lies beside the weights and says more.

Weights are safetensors, never pickles. Everything that is read here is somebody else's file, so
every field is checked where it is read.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cards.metadata import metadata_of
from .errors import RefusedSourceError, SourceError

WEIGHTS_NAME = "adapter_model.safetensors"
CONFIG_NAME = "adapter_config.json"
CARD_NAME = "README.md"
TRAINER_STATE_NAME = "trainer_state.json"
TOKENIZER_NAME = "tokenizer.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_LARGEST_TEXT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PeftFolder:
    """What a folder says: the adapter, its card's metadata and its training state.

    Attributes:
        path: the folder, absolute.
        weights: the safetensors file.
        config: `adapter_config.json`.
        card: metadata of the card's YAML block; empty without one.
        trainer_state: `trainer_state.json`; empty without one.
        tokenizer_digest: sha256 of the vocabulary that `tokenizer.json` holds, if it is there.
    """

    path: Path
    weights: Path
    config: Mapping[str, Any]
    card: Mapping[str, Any]
    trainer_state: Mapping[str, Any]
    tokenizer_digest: str | None


def read_folder(source: str | Path) -> PeftFolder:
    """Read all of a PEFT folder but its weights.

    Raises:
        SourceError: no folder, no configuration, no weights, or a file that is not what
            it should be.
        RefusedSourceError: pickled weights.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix in {suffix.lstrip("*") for suffix in _PICKLES}:
            raise _pickled(path)
        raise SourceError(f"'{source}' is a file; give the folder that holds {CONFIG_NAME}")
    if not path.is_dir():
        raise SourceError(f"there is no folder '{source}'")
    path = path.resolve()
    config = _read_json(path / CONFIG_NAME)
    if config is None:
        raise SourceError(f"'{source}' holds no {CONFIG_NAME}: it is not a PEFT adapter")
    if not isinstance(config.get("peft_type"), str):
        raise SourceError(f"{CONFIG_NAME} in '{source}' names no peft_type (such as \"LORA\")")
    weights = path / WEIGHTS_NAME
    if not weights.is_file():
        pickles = sorted(found for pattern in _PICKLES for found in path.glob(pattern))
        adapters = [found for found in pickles if found.name.startswith("adapter_model")]
        if adapters:
            raise _pickled(adapters[0])
        raise SourceError(f"'{source}' holds no {WEIGHTS_NAME}")
    return PeftFolder(
        path=path,
        weights=weights,
        config=config,
        card=_read_card(path / CARD_NAME),
        trainer_state=_read_json(path / TRAINER_STATE_NAME) or {},
        tokenizer_digest=_tokenizer_digest(path / TOKENIZER_NAME),
    )


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration as `adapter_config.json` has it, the same on any machine."""
    return json.dumps(dict(config), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _pickled(path: Path) -> RefusedSourceError:
    target = path.with_suffix(".safetensors")
    if not target.name.startswith("adapter_model"):
        target = path.with_name(WEIGHTS_NAME)
    paths = f"{shlex.quote(str(path))} {shlex.quote(str(target))}"
    return RefusedSourceError(
        f"'{path}' is a pickle, which can run code when it is loaded. If you trust it, "
        "convert it:\n"
        "  python -c 'import sys, torch, safetensors.torch; safetensors.torch.save_file("
        f"torch.load(sys.argv[1], weights_only=True), sys.argv[2])' {paths}"
    )


def _read_text(path: Path) -> str | None:
    try:
        if path.stat().st_size > _LARGEST_TEXT_BYTES:
            raise SourceError(f"'{path}' has {path.stat().st_size} bytes, which no such file has")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise SourceError(f"'{path}' is not UTF-8 text: {error}") from error
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read: {error.strerror}") from error


def _read_json(path: Path) -> dict[str, Any] | None:
    text = _read_text(path)
    if text is None:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"'{path}' is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise SourceError(f"'{path}' holds {type(data).__name__}, not a JSON object")
    return data


def _read_card(path: Path) -> dict[str, Any]:
    text = _read_text(path) or ""
    try:
        return metadata_of(text)
    except SourceError as error:
        raise SourceError(f"'{path}': {error}") from error


def _tokenizer_digest(path: Path) -> str | None:
    data = _read_json(path)
    return None if data is None else vocabulary_digest(data)


def vocabulary_digest(tokenizer: Mapping[str, Any]) -> str:
    """Return the digest of the vocabulary that the content of a `tokenizer.json` holds.

    Of the vocabulary alone: padding and truncation settings change with each run.
    """
    vocabulary = {name: tokenizer.get(name) for name in ("model", "added_tokens", "normalizer")}
    plain = json.dumps(vocabulary, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
