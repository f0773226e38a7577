"""The settings of a training run; the defaults are the paper's where it names a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import SettingsError
from ..models.prompts import DEFAULT_PROMPT, Prompt

TARGET_LENGTH = 128
_WHOLE = (
    "steps",
    "batch_size",
    "accumulation",
    "max_length",
    "max_target_length",
    "rank",
    "seed",
    "init_seed",
    "data_seed",
    "validate_every",
    "patience",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train.

    Attributes:
        steps: of the optimizer, AdamW with a learning rate that falls to zero in a straight line.
        batch_size: examples that go through the model at once.
        accumulation: batches in one step; a step sees `batch_size * accumulation` examples.
        learning_rate: at the first step.
        max_length: most tokens of an example, both sides together.
        max_target_length: most tokens of a task's target, which are kept free of the prompt;
            default 128, or half of `max_length` where that is less.
        prompt: of a task: what is read, with the source in the place of `{source}`.
        peft: the PEFT type: lora, lokr (the paper's Kronecker adapter), or another by its name.
        rank: default 4; of lokr, default as large as its second factor, which is then full.
        alpha: default the rank, so that the update is the product of the factors as it is.
        targets: modules to adapt; default the query, key, value and output projections.
        peft_options: more fields of the PEFT type's configuration, by their names there.
        seed: of dropout and whatever else training draws.
        init_seed: where the adapter starts: the same for all vectors of a base, or element-wise
            sums of them mean nothing.
        data_seed: of the order of the data and the splits of texts; default the seed.
        validate_every: steps between two validations; default a tenth of the steps.
        patience: stop after so many validations without a better loss, and keep the best; None
            trains to the end and keeps the last.
    """

    steps: int = 5000
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 2e-4
    max_length: int = 512
    max_target_length: int | None = None
    prompt: str = DEFAULT_PROMPT
    peft: str = "lora"
    rank: int | None = None
    alpha: float | None = None
    targets: tuple[str, ...] = ()
    peft_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    init_seed: int = 0
    data_seed: int | None = None
    validate_every: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        self._check_kinds()
        Prompt(self.prompt)
        least = {"steps": 1, "batch_size": 1, "accumulation": 1, "rank": 1, "max_target_length": 1}
        least |= {"validate_every": 1, "patience": 1, "max_length": 8}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise SettingsError(f"{name} is {value}: it must be at least {low}")
        if not 0 < self.learning_rate < float("inf"):
            raise SettingsError(f"learning_rate is {self.learning_rate}: it must be above 0")
        if self.target_length >= self.max_length:
            raise SettingsError(
                f"max_target_length {self.max_target_length} leaves nothing of max_length "
                f"{self.max_length} for the source: lower it"
            )

    def _check_kinds(self) -> None:
        """Refuse what a plan may hold and annotations forbid: a text for a number, and the like."""
        kinds = (
            (_WHOLE, int, "a whole number"),
            (("learning_rate", "alpha"), (int, float), "a number"),
            (("prompt", "peft"), str, "a text"),
            (("targets",), tuple, "a tuple of names"),
            (("peft_options",), Mapping, "a table"),
        )
        for names, kind, what in kinds:
            for name in names:
                value = getattr(self, name)
                if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                    raise SettingsError(
                        f"a setting is of the wrong kind: {name} is {value!r}, it must be {what}"
                    )

    @property
    def examples(self) -> int:
        """How many examples a run sees."""
        return self.steps * self.batch_size * self.accumulation

    @property
    def target_length(self) -> int:
        """Most tokens of a target."""
        if self.max_target_length is not None:
            return self.max_target_length
        return min(TARGET_LENGTH, self.max_length // 2)

    @property
    def order_seed(self) -> int:
        """The seed of the data's order and splits."""
        return self.seed if self.data_seed is None else self.data_seed

    def as_json(self) -> dict[str, Any]:
        """Return all settings as plain JSON."""
        return asdict(self) | {
            "targets": list(self.targets),
            "peft_options": dict(self.peft_options),
            "data_seed": self.order_seed,
            "max_target_length": self.target_length,
        }


NAMES = tuple(item.name for item in fields(Settings))
"""Names of all settings, as a plan may write them."""
