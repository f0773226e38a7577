"""The lock: all that is needed to make a composition again and to prove what it was made of.

It lies beside the weights as `isogloss.lock.json`. What is linear, prunes or elects comes out the
same on any machine, so that a lock promises the result's digest. Decompositions and angles do not;
there it promises a tolerance, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from ..errors import WeightsError
from .catalogue import Distances
from .plan import AdapterKey, Plan
from .plan_data import key_as_json, key_from_json, plan_as_json, plan_from_json, text

LOCK_NAME = "isogloss.lock.json"
LOCK_VERSION = 2
"""Of locks in which a function that is not linear takes part; all others are of version 1."""


@dataclass(frozen=True, slots=True)
class LockedAdapter:
    """One adapter that took part: its content, and where it was known by which name."""

    key: AdapterKey
    name: str
    version: int
    base_model: str
    source: str | None = None
    source_revision: str | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """A composition frozen: the plan, its adapters, and the digests of what came out.

    Attributes:
        expression: the program as it was written.
        parameters: values of its parameters, as given.
        context: what selectors meant that did not say it themselves: task, base, peft.
        plan: the canonical sum and its semantics.
        distances: uses of distances between languages, by which adapters were chosen or weighed.
        dtype: of the result ("bfloat16", ...).
        adapters: every adapter of the plan.
        result: content of the result.
        files: sha256 of the files beside the lock, by name.
        tools: versions of the tools that made it.
        tolerance: how far, relative to its Frobenius norm, each tensor or update may lie from what
            another machine makes; None where it must be the same to the bit.
        errors: what functions lost, as they reported it: plain data.
    """

    expression: str
    parameters: Mapping[str, str]
    context: Mapping[str, str]
    plan: Plan
    distances: tuple[Distances, ...]
    dtype: str
    adapters: tuple[LockedAdapter, ...]
    result: AdapterKey
    files: Mapping[str, str]
    tools: Mapping[str, str]
    tolerance: float | None = None
    errors: tuple[Mapping[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The lock as plain data, with a checksum over itself."""
        body: dict[str, Any] = {
            "lock_version": LOCK_VERSION if self.plan.derived else 1,
            "expression": self.expression,
            "parameters": dict(self.parameters),
            "context": dict(self.context),
            **plan_as_json(self.plan),
            "canonical": self.plan.canonical,
            "plan": self.plan.digest,
            "adapters": [_adapter_as_json(adapter) for adapter in self.adapters],
            "distances": [
                asdict(one) | {"languages": list(one.languages)} for one in self.distances
            ],
            "dtype": self.dtype,
            "reproducible": "bit for bit" if self.tolerance is None else "within the tolerance",
            "result": key_as_json(self.result),
            "files": dict(self.files),
            "tools": dict(self.tools),
        }
        if self.plan.derived:
            body |= {"tolerance": self.tolerance, "errors": [dict(one) for one in self.errors]}
        return {**body, "checksum": _checksum(body)}

    def text(self) -> str:
        """The lock file's content."""
        return json.dumps(self.as_json(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def read_lock(content: str | bytes) -> Lock:
    """Read a lock file's content.

    Raises:
        WeightsError: not a lock, changed since it was written, or of an unknown version.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{LOCK_NAME} is not JSON: {error}") from error
    return lock_from_json(data)


def lock_from_json(data: object) -> Lock:
    """The lock of its plain data.

    Raises:
        WeightsError: not a lock, changed since it was written, or of an unknown version.
    """
    if not isinstance(data, dict) or "lock_version" not in data:
        raise WeightsError(f"{LOCK_NAME} does not hold a lock")
    if data["lock_version"] not in (1, LOCK_VERSION):
        raise WeightsError(
            f"{LOCK_NAME} has lock_version {data['lock_version']!r}, "
            f"this isogloss reads 1 and {LOCK_VERSION}",
            hint="use the isogloss that wrote it, or a newer one",
        )
    body = {name: value for name, value in data.items() if name != "checksum"}
    try:
        checksum = _checksum(body)
    except (ValueError, RecursionError) as error:
        raise _garbled(error) from error
    if data.get("checksum") != checksum:
        raise WeightsError(f"{LOCK_NAME} was changed after it was written: its checksum differs")
    try:
        lock = _lock(body)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _garbled(error) from error
    if lock.plan.digest != body["plan"]:
        raise WeightsError(f"{LOCK_NAME} contradicts itself: its terms are not its plan")
    return lock


def _garbled(error: Exception) -> WeightsError:
    return WeightsError(f"{LOCK_NAME} lacks or garbles a field: {error!r}")


def _lock(body: Mapping[str, Any]) -> Lock:
    return Lock(
        expression=text(body["expression"]),
        parameters=dict(body["parameters"]),
        context=dict(body["context"]),
        plan=plan_from_json(body),
        distances=tuple(
            Distances(one["rule"], one["backend"], one["version"], tuple(one["languages"]))
            for one in body["distances"]
        ),
        dtype=text(body["dtype"]),
        adapters=tuple(_adapter(item) for item in body["adapters"]),
        result=key_from_json(body["result"]),
        files=dict(body["files"]),
        tools=dict(body["tools"]),
        tolerance=_tolerance(body.get("tolerance")),
        errors=tuple(body.get("errors", ())),
    )


def _tolerance(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, float) or not isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} is no tolerance")
    return value


def _adapter_as_json(adapter: LockedAdapter) -> dict[str, Any]:
    return {
        **key_as_json(adapter.key),
        "name": adapter.name,
        "version": adapter.version,
        "base_model": adapter.base_model,
        "source": adapter.source,
        "source_revision": adapter.source_revision,
        "license": adapter.license,
    }


def _adapter(item: Mapping[str, Any]) -> LockedAdapter:
    return LockedAdapter(
        key=key_from_json(item),
        name=text(item["name"]),
        version=int(item["version"]),
        base_model=text(item["base_model"]),
        source=item["source"],
        source_revision=item["source_revision"],
        license=item["license"],
    )


def _checksum(body: Mapping[str, Any]) -> str:
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()
