"""What holds for which PEFT type, and which ones are refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from .output import print_fields, print_text, print_title


def print_types() -> None:
    """Print the PEFT types that can be composed, then those that are refused."""
    from ..dsl.algebra.refused import REFUSED
    from ..dsl.algebra.types import TYPES

    print_title("PEFT types (c: coefficients, s: the adapter's scaling)")
    for rules in TYPES:
        print_text()
        print_text(click.style(rules.name, bold=True))
        print_fields(
            (
                ("W becomes", rules.update),
                ("elementwise", rules.elementwise),
                ("exact", rules.exact),
                ("coefficients", rules.coefficients),
                ("truncate", rules.truncate),
                ("lora", rules.lora),
                ("source", rules.citation),
            ),
            indent="  ",
        )
    print_title("Refused, because such an adapter ...")
    for reason in dict.fromkeys(refusal.reason for refusal in REFUSED.values()):
        names = [name for name, refusal in REFUSED.items() if refusal.reason == reason]
        print_text(f"  {', '.join(names)}: {reason}")


def types_json() -> dict[str, list[dict[str, Any]]]:
    """The same as plain data."""
    from ..dsl.algebra.refused import REFUSED
    from ..dsl.algebra.types import TYPES

    return {
        "types": [asdict(rules) for rules in TYPES],
        "refused": [{"peft_type": name, **asdict(refusal)} for name, refusal in REFUSED.items()],
    }
