"""One base model in memory, and one adapter after another on it.

The base is loaded once. An adapter of the same form as the one before only copies its tensors into
place; one of another form (type, rank, targets) gets new layers of peft's, which does not read the
base again either. What the model gives is what `PeftModel.from_pretrained` gives.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final, Self

import torch

from ...dsl.errors import IncompatibleError
from ...dsl.tensors.configuration import changes_base, effective
from .adapter import Adapter

if TYPE_CHECKING:
    from ..models.base import Base

_NAME: Final = "default"


class Session:
    """A base model that adapters take turns on; a context manager that gives the base back bare.

    Attributes:
        base: the model, its tokenizer and its name.
        adapter: the one that is on the model now; None for the bare base.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.adapter: Adapter | None = None
        self._peft: Any = None
        self._form: object = None
        self._modules: list[tuple[torch.nn.Module, str, torch.nn.Module]] = []
        self._overwritten: dict[str, torch.Tensor] = {}
        self._trainable: list[torch.nn.Parameter] = []
        base.model.eval()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.use(None)

    @property
    def model(self) -> Any:
        """The model as it computes now: peft's, or the bare base."""
        return self.base.model if self._peft is None else self._peft

    @property
    def puts_tokens_first(self) -> bool:
        """Whether the adapter puts something before the input (prompt and prefix tuning)."""
        return self._peft is not None and bool(self._peft.active_peft_config.is_prompt_learning)

    def use(self, adapter: Adapter | None) -> None:
        """Put an adapter in the place of the one before; None leaves the bare base.

        Raises:
            IncompatibleError: the adapter does not fit the model, or cannot be put on it without
                changing the base's own weights for good.
        """
        if adapter is None:
            self._unwrap()
            return
        form = _form(adapter)
        if form != self._form:
            self._unwrap()
            self._wrap(adapter, form)
        try:
            self._copy(adapter)
        except IncompatibleError:
            self._unwrap()
            raise
        self.adapter = adapter

    def _wrap(self, adapter: Adapter, form: object) -> None:
        from peft import MODEL_TYPE_TO_PEFT_MODEL_MAPPING, PeftConfig, PeftModel

        config = adapter.config
        if changes_base(config):
            raise IncompatibleError(
                f"{adapter.label} began with init_lora_weights={config['init_lora_weights']!r}, "
                "which subtracts from the base model's own weights",
                hint="convert it where it was trained: model.save_pretrained(..., "
                "path_initial_model_for_weight_conversion=...) writes it as plain LoRA",
            )
        model = self.base.model
        self._modules = [
            (parent, name, child)
            for parent in model.modules()
            for name, child in parent.named_children()
        ]
        self._trainable = [value for value in model.parameters() if value.requires_grad]
        self._overwritten = {
            name: value.detach().clone()
            for name, value in model.named_parameters()
            if config.get("bias", "none") != "none" and name.endswith("bias")
        }
        settings = PeftConfig.from_peft_type(**deepcopy({**config, "inference_mode": True}))
        kind = MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(settings.task_type, PeftModel)
        try:
            # peft begins every adapter with random numbers, which are overwritten at once.
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                # peft 0.21 asks transformers 5.23 under an old name; and tied embeddings matter
                # where weights are merged, which is taken care of there.
                warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is depr")
                warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
                self._peft = kind(model, settings, _NAME).eval()
        except ValueError as error:
            self._unwrap()
            raise self._misfit(adapter, str(error)) from error
        self._form = form

    def _copy(self, adapter: Adapter) -> None:
        from peft import set_peft_model_state_dict
        from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

        try:
            result = set_peft_model_state_dict(self._peft, dict(adapter.tensors), _NAME)
        except (RuntimeError, KeyError) as error:
            raise self._misfit(adapter, str(error).splitlines()[-1].strip()) from error
        settings = self._peft.active_peft_config
        if settings.is_prompt_learning:
            return
        if result.unexpected_keys:
            raise self._misfit(adapter, f"there is no place for {result.unexpected_keys[0]}")
        prefix = PEFT_TYPE_TO_PREFIX_MAPPING.get(settings.peft_type, "")
        for name in result.missing_keys:
            if prefix in name and _NAME in name.split("."):
                raise self._misfit(adapter, f"it has no weights for {name}")

    def _unwrap(self) -> None:
        """Give the base back as it was: peft replaces modules and may write into biases."""
        if not self._modules:
            return
        for parent, name, child in self._modules:
            setattr(parent, name, child)
        with torch.no_grad():
            parameters = dict(self.base.model.named_parameters())
            for name, value in self._overwritten.items():
                parameters[name].copy_(value)
        for parameter in self._trainable:
            parameter.requires_grad_()
        if hasattr(self.base.model, "peft_config"):
            del self.base.model.peft_config
        self._modules, self._overwritten, self._trainable = [], {}, []
        self._peft = self._form = self.adapter = None

    def _misfit(self, adapter: Adapter, reason: str) -> IncompatibleError:
        made_for = f" (it was made for {adapter.base_model})" if adapter.base_model else ""
        return IncompatibleError(
            f"{adapter.label} does not fit {self.base.name}{made_for}: {reason}",
            hint="give the base model that the adapter was trained on",
        )


def _form(adapter: Adapter) -> object:
    """What two adapters must share for one to be copied over the other."""
    shapes = {name: tuple(tensor.shape) for name, tensor in adapter.tensors.items()}
    return effective(adapter.config), shapes
