"""Published choices of languages, offered by name."""

from functools import lru_cache
from types import MappingProxyType

from ..errors import CheckError, did_you_mean, quoted
from .shipped import rows

PRESETS = {"table5": "Table 5 of Chronopoulou et al. 2023"}
"""The presets and what each one is."""


@lru_cache(maxsize=4)
def published(preset: str) -> MappingProxyType[str, tuple[str, ...]]:
    """Return the languages that a preset chooses, by target.

    Raises:
        CheckError: there is no such preset.

    >>> published("table5")["yo"]
    ('en', 'ar')
    """
    if preset not in PRESETS:
        raise CheckError(
            f"there is no preset {quoted(preset)}; there is {', '.join(PRESETS)}",
            hint=did_you_mean(preset, PRESETS),
        )
    return MappingProxyType(
        {target: tuple(chosen.split()) for target, chosen in rows(f"{preset}.tsv")}
    )
