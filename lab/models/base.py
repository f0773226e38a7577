"""Loads a base model and its tokenizer: from the Hub, a folder, or a GGUF file."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...hub.peft_folder import vocabulary_digest
from ..errors import MissingExtraError, ModelError, NoModelError, RemoteModelError, SettingsError
from ..memory import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AUTO = "auto"
DTYPES: dict[str, torch.dtype | str] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    AUTO: AUTO,
}
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that is loaded.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: with a padding token.
        name: by which adapters call it: the Hub id, or the absolute path of a folder or file.
        revision: the commit at the Hub; None for what is on disk.
        encoder_decoder: whether an encoder reads and a decoder writes (T5), or one model does both.
        tokenizer_digest: of its vocabulary, as the catalogue has it; None where it has no fast one.
        digest: sha256 of the weights' files on disk; None at the Hub, where the commit says it all.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str | None
    encoder_decoder: bool
    tokenizer_digest: str | None
    digest: str | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.model.device)


def load_base(
    model: str | Path,
    *,
    revision: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    name: str | None = None,
) -> Base:
    """Load a base model: a Hub id, a folder, or a GGUF file, whose weights are dequantized.

    Args:
        revision: branch, tag or commit at the Hub.
        dtype: float32, bfloat16, float16, or auto: that of the model's files. Default: float32 on a
            CPU, where it is the fastest, and bfloat16 on a GPU that can.
        device: default the GPU, if there is one.
        name: what adapters call it; default the Hub id, or the absolute path.

    Raises:
        NoModelError, RemoteModelError, ModelError: it cannot be loaded. SettingsError: a dtype.
    """
    place = str(model).strip()
    if not place:
        raise ModelError("the base model's name is empty: give a Hub id, a folder or a GGUF file")
    check_dtype(dtype)
    chosen = _device(device)
    numbers = DTYPES[dtype or default_dtype(device)]
    local = Path(place).expanduser()
    if local.exists():
        loaded, tokenizer = _load(str(local.resolve()), None, numbers)
    elif place.startswith((".", "/", "~")) or place.lower().endswith(".gguf"):
        raise NoModelError(f"there is no folder or file '{place}'")
    else:
        loaded, tokenizer = _load(place, revision, numbers)
    give_padding(tokenizer)
    # peft takes the model's own word for the name that it writes into an adapter.
    loaded.name_or_path = name or base_name(place)
    return Base(
        model=_on_device(loaded, place, chosen).eval(),
        tokenizer=tokenizer,
        name=loaded.name_or_path,
        revision=None if local.exists() else _commit(place, revision),
        encoder_decoder=bool(loaded.config.is_encoder_decoder),
        tokenizer_digest=digest_of_vocabulary(tokenizer),
        digest=base_digest(place),
    )


def check_dtype(dtype: str | None) -> None:
    """Refuse a number format that there is none of.

    Raises:
        SettingsError: with those that there are.
    """
    if dtype is not None and dtype not in DTYPES:
        raise SettingsError(f"there is no dtype {dtype!r}: give one of {', '.join(DTYPES)}")


def base_name(model: str | Path) -> str:
    """Return how adapters call a base model: what is on disk by its absolute path."""
    local = Path(str(model).strip()).expanduser()
    return str(local.resolve()) if local.exists() else str(model).strip()


def base_digest(model: str | Path) -> str | None:
    """Return the sha256 of the weights' files of a folder or a GGUF file; None for a Hub id."""
    local = Path(str(model).strip()).expanduser()
    if not local.exists():
        return None
    found = [local] if local.is_file() else [p for w in _WEIGHTS for p in sorted(local.glob(w))]
    digest = hashlib.sha256()
    for path in found:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def give_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """See to it that a tokenizer can pad: with its end token, where it has no padding token.

    Padding never enters a loss and is masked from attention, so that any token does.

    Raises:
        ModelError: it has no end token, without which no target can be learnt to its end.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no end-of-text token, so that nothing written could ever end: set "
            "eos_token in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def digest_of_vocabulary(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the digest of a fast tokenizer's vocabulary, None for one that is not fast."""
    import json

    backend = getattr(tokenizer, "backend_tokenizer", None)
    return None if backend is None else vocabulary_digest(json.loads(backend.to_str()))


def default_dtype(device: str | None) -> str:
    """Return the number format that a model is loaded in where none is asked for."""
    gpu = torch.cuda.is_available() and (device or "cuda").startswith("cuda")
    return "bfloat16" if gpu and torch.cuda.is_bf16_supported() else "float32"


def _device(asked: str | None) -> torch.device:
    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition(chr(10))[0]
        raise SettingsError(f"there is no device {asked!r} here: {reason}") from error
    return device


def _commit(place: str, revision: str | None) -> str | None:
    """The commit that a model at the Hub was loaded at: the cache names its folder by it."""
    from transformers.utils import cached_file

    path = cached_file(place, "config.json", revision=revision)
    match = re.search(r"/snapshots/([0-9a-f]{40})/", Path(str(path)).as_posix())
    return match[1] if match else revision


def _load(
    place: str, revision: str | None, dtype: torch.dtype | str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f"base models need {error.name}, which is not installed: pip install 'isogloss[lab]'"
        ) from error
    options: dict[str, Any] = {"revision": revision} if revision else {}
    if Path(place).is_file():
        options["gguf_file"] = Path(place).name
        place = str(Path(place).parent)
    try:
        with bars_on_a_terminal(), _no_other_bars():
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
            config = transformers.AutoConfig.from_pretrained(place, **options)
            kind = (
                transformers.AutoModelForSeq2SeqLM
                if config.is_encoder_decoder
                else transformers.AutoModelForCausalLM
            )
            if "gguf_file" in options:
                options["quantization_config"] = transformers.GgufConfig(dequantize=True)
            return kind.from_pretrained(place, dtype=dtype, **options), tokenizer
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, MemoryError) as error:
        raise _in_words(place, error) from error


def _on_device(model: PreTrainedModel, place: str, device: torch.device) -> PreTrainedModel:
    try:
        return model.to(device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _in_words(place, error) from error


@contextmanager
def bars_on_a_terminal() -> Iterator[None]:
    """Show transformers' bars where somebody looks at them, and nowhere else."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def _no_other_bars() -> Iterator[None]:
    """Leave out the bar of a GGUF file's conversion, which knows no switch, likewise."""
    with nullcontext() if sys.stderr.isatty() else redirect_stderr(StringIO()):
        yield


def _in_words(place: str, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())
    if is_out_of_memory(error):
        return ModelError(
            f"out of memory: '{place}' is too large to load so: take --dtype bfloat16, another "
            "--device, or a smaller model"
        )
    if isinstance(error, ImportError):
        return ModelError(f"'{place}' needs a library that is not installed: {reason}")
    if Path(place).exists():
        return ModelError(f"'{place}' is no model that transformers can load: {reason}")
    if "is not a valid model identifier" in reason or "is not a local folder" in reason:
        return NoModelError(f"there is no model '{place}', neither here nor at the Hub: {reason}")
    if isinstance(error, OSError):
        return RemoteModelError(f"model '{place}' cannot be fetched: {reason}")
    return ModelError(f"'{place}' is no model that transformers can load: {reason}")
