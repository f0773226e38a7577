"""What a training run is: all that decides its result, so that it is known again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ...dsl.languages import normalize
from ..data.fields import Fields
from ..data.source import fingerprint, parse_source
from ..errors import SettingsError
from .settings import Settings

if TYPE_CHECKING:
    from ..models.base import Base


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """Which base model: enough to know a run again without loading it.

    Attributes:
        model: Hub id, folder or GGUF file.
        name: what adapters call it.
        revision: as asked for at the Hub.
        dtype: float32, bfloat16, float16, or auto: that of the model's files.
        device: as asked for.
        digest: of the weights on disk; None at the Hub.
    """

    model: str
    name: str
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    digest: str | None = None

    def load(self) -> Base:
        """Load the model.

        Raises:
            ModelError: as `load_base`.
        """
        from ..models.base import load_base

        return load_base(
            self.model,
            revision=self.revision,
            dtype=self.dtype,
            device=self.device,
            name=self.name,
        )


def choose_base(
    model: str | Path,
    *,
    name: str | None = None,
    revision: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> BaseChoice:
    """Say which base model is meant, without loading it.

    Args:
        name: what adapters call it; default the Hub id, or the absolute path of what is on disk.

    Raises:
        SettingsError: a dtype that there is none of.
    """
    from ..models.base import base_digest, base_name, check_dtype, default_dtype

    check_dtype(dtype)
    return BaseChoice(
        model=str(model),
        name=name or base_name(model),
        revision=revision,
        dtype=dtype or default_dtype(device),
        device=device,
        digest=base_digest(model),
    )


@dataclass(frozen=True, slots=True)
class Run:
    """All that decides what a run's adapter will be, and what it will be called.

    Attributes:
        name: in the catalogue.
        kind: `lm` or `task`.
        languages: as given; several for one multilingual adapter.
        task: of a task vector.
        base: the base model.
        data: sources; several are trained on together, in turn.
        fields: which fields hold what.
        validation: a source whose loss is measured now and then, or None.
        limit: use at most so many rows of every source, from its beginning.
        settings: how to train.
        license: that the adapter is catalogued under.
        fingerprints: of the data, then of the validation data.
    """

    name: str
    kind: str
    languages: tuple[str, ...]
    task: str | None
    base: BaseChoice
    data: tuple[str, ...]
    fields: Fields
    validation: str | None
    limit: int | None
    settings: Settings
    license: str | None = None
    fingerprints: tuple[str, ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        """The sha256 of all that decides the result: equal digests, equal adapters."""
        base = {
            "name": self.base.name,
            "revision": self.base.revision,
            "digest": self.base.digest,
            "dtype": self.base.dtype,
        }
        document = {
            "kind": self.kind,
            "languages": [normalize(language) for language in self.languages],
            "task": self.task,
            "base": base,
            "data": list(self.fingerprints[: len(self.data)]),
            "validation": list(self.fingerprints[len(self.data) :]),
            "fields": [self.fields.source, self.fields.target, self.fields.text],
            "limit": self.limit,
            "settings": self.settings.as_json(),
        }
        # The same bytes say something else in another format: a line of JSON is a text too.
        formats = [parse_source(source).format for source in self.data]
        if set(formats) - {None, "jsonl"}:
            document["formats"] = formats
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()


def describe_run(
    kind: str,
    base: Base | BaseChoice | str | Path,
    data: str | Path | Sequence[str | Path],
    language: str | Sequence[str],
    task: str | None,
    settings: Settings | None,
    name: str | None,
    fields: Fields | None,
    validation: str | Path | None,
    limit: int | None,
    license: str | None,
) -> Run:
    """Say what a run is, checked as far as it can be without loading the model.

    Raises:
        DataError: the data. LanguageError: not a language code. SettingsError: no language.
    """
    languages = tuple(language.split(",") if isinstance(language, str) else language)
    languages = tuple(one.strip() for one in languages if one.strip())
    if not languages:
        raise SettingsError("no language is given: name the one that the data are in")
    normal = "-".join(sorted({normalize(one) for one in languages}))
    sources = tuple(map(str, [data] if isinstance(data, (str, Path)) else data))
    if not sources:
        raise SettingsError("no data are given: name a file or a data set")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise SettingsError(f"limit is {limit!r}: it must be a whole number, at least 1")
    if validation is None and settings is not None and settings.patience is not None:
        raise SettingsError("patience waits for validation data, and there are none: name them")
    extra = () if validation is None else (str(validation),)
    return Run(
        name=name or f"{task or kind}-{normal}",
        kind=kind,
        languages=languages,
        task=task,
        base=_choice(base),
        data=sources,
        fields=fields or Fields(),
        validation=None if validation is None else str(validation),
        limit=limit,
        settings=settings or Settings(),
        license=license,
        fingerprints=tuple(fingerprint(source) for source in (*sources, *extra)),
    )


def _choice(base: Base | BaseChoice | str | Path) -> BaseChoice:
    if isinstance(base, BaseChoice):
        return base
    if isinstance(base, (str, Path)):
        return choose_base(base)
    dtype = str(base.model.dtype).removeprefix("torch.")
    return BaseChoice(base.name, base.name, base.revision, dtype, str(base.device), base.digest)
