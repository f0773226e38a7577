"""The model card of a composed adapter: what it was made of, and how to load and rebuild it."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from ..dsl.lock import LOCK_NAME, Lock
from ..dsl.plan import SEMANTICS, readable

HUB_TAGS = ("isogloss", "lora", "task-arithmetic")


def license_of(licenses: Sequence[str | None]) -> str | None:
    """The one licence that all parents share, else None."""
    return licenses[0] if licenses and len(set(licenses)) == 1 else None


def write_card(
    lock: Lock,
    *,
    title: str,
    base_model: str,
    languages: Sequence[str] = (),
    license: str | None = None,
    warnings: Sequence[str] = (),
) -> str:
    """The card's text: Hugging Face metadata, then the composition in words and tables.

    Args:
        lock: the composition.
        title: heading, usually the adapter's name.
        base_model: as the adapter's configuration names it.
        languages: normal forms of the languages that the result is for.
        license: its licence; without one, the parents' are listed.
        warnings: what a reader must know about this composition.
    """
    parents = sorted({adapter.license or "unknown" for adapter in lock.adapters})
    metadata: dict[str, object] = {
        "base_model": base_model,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "tags": list(HUB_TAGS),
        "license": license or "other",
    }
    if languages:
        metadata["language"] = list(languages)
    head = yaml.safe_dump(metadata, sort_keys=True, allow_unicode=True)
    terms = "\n".join(_term_rows(lock))
    noted = "".join(f"\n> {warning}\n" for warning in warnings)
    given = "".join(f"\n`{name}` = `{value}`" for name, value in sorted(lock.parameters.items()))
    licensed = "" if license else f"\nLicences of the parents: {', '.join(parents)}.\n"
    return f"""---
{head}---

# {title}

A composed adapter for `{base_model}`:

```
{lock.expression.strip()}
```
{given}{noted}
| coefficient | adapter | weights | kept modules |
| ---: | --- | --- | --- |
{terms}

Semantics: `{lock.plan.semantics}`, {SEMANTICS[lock.plan.semantics]}.
{licensed}
## Load it

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained({base_model!r})
model = PeftModel.from_pretrained(model, "path/to/this/folder")
```

## Rebuild and verify it

`{LOCK_NAME}` names every parent by its content. With the parents in a catalogue,
`isogloss verify path/to/this/folder` makes the adapter again and compares: the weights
must come out with sha256 `{lock.result.weights}`.
"""


def _term_rows(lock: Lock) -> list[str]:
    by_key = {adapter.key: adapter for adapter in lock.adapters}
    rows = []
    for term in lock.plan.terms:
        adapter = by_key[term.adapter]
        kept = "; ".join(_kept(item.as_json()) for item in term.filters) or "all"
        rows.append(
            f"| {readable(term.coefficient)} | {adapter.name}@v{adapter.version} "
            f"| `{term.adapter.weights[:12]}` | {kept} |"
        )
    return rows


def _kept(bounds: dict[str, str | int]) -> str:
    return ", ".join(f"{name} `{value}`" for name, value in bounds.items()).replace("|", "\\|")
