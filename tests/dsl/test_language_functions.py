"""The list of functions, and how arguments find their parameters."""

import re

import pytest
from isogloss.dsl.checks.arguments import bind_arguments
from isogloss.dsl.checks.check import check
from isogloss.dsl.errors import CheckError
from isogloss.dsl.functions import FUNCTION_BY_NAME, FUNCTIONS, Function
from isogloss.dsl.syntax import Call
from isogloss.dsl.text.parse import parse
from isogloss.dsl.text.print import print_expression


def bound(text: str) -> dict[str, tuple[str, ...]]:
    call = parse(text).expression
    assert isinstance(call, Call)
    arguments = bind_arguments(call, FUNCTION_BY_NAME[call.function])
    return {name: tuple(map(print_expression, values)) for name, values in arguments.items()}


def test_arguments_find_their_parameters() -> None:
    assert bound("mean(a, b, task[*])") == {"x": ("a", "b", "task[*]")}
    assert bound("layers(a, 1, last=2)") == {"x": ("a",), "first": ("1",), "last": ("2",)}
    assert bound("layers(last=2, x=a)") == {"last": ("2",), "x": ("a",)}
    assert bound('only(modules="q", x=a)') == {"modules": ('"q"',), "x": ("a",)}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.name)
def test_every_function_says_what_it_is(function: Function) -> None:
    assert re.fullmatch("[a-z_]+", function.name)
    assert function.summary.endswith(".")
    assert function.formula
    assert function.citation
    names = [parameter.name for parameter in function.parameters]
    assert len(set(names)) == len(names)
    assert {*function.one_of} <= {*names}
    assert not any(one.variadic for one in function.parameters[1:])
    for parameter in function.parameters:
        assert (parameter.type == "word") == bool(parameter.choices)
        assert parameter.default is None or not parameter.required
        if parameter.choices and parameter.default is not None:
            assert parameter.default in parameter.choices


EXAMPLES = {
    "mean": "mean(task[*], lm[en])",
    "sum": "sum(task[en], lm[en])",
    "only": 'only(task[en], modules="q_proj")',
    "layers": "layers(task[en], first=0, last=3)",
    "exact": "exact(task[en] + lm[pt])",
    "onesided": "onesided(task[en] - lm[pt])",
    "peft_linear": "peft_linear(task[en] - lm[pt])",
    "weighted": 'weighted(task[*], to="pt-BR", by=mean)',
    "ties": "ties(task[*], 0.3*lm[pt], density=0.2, majority_sign_method=frequency, rank=8)",
    "dare": "dare(task[en], density=0.5, seed=7)",
    "breadcrumbs": "breadcrumbs(task[en], density=0.9, gamma=0.02)",
    "slerp": "slerp(task[en], lm[pt], t=0.3)",
    "model_stock": "model_stock(task[*], rank=8)",
    "trim": "trim(task[en] - lm[en], density=1/3)",
    "truncate": "truncate(exact(task[en] - lm[pt]), rank=16)",
    "lora": "lora(0.5*task[en], energy=0.99, pad=vllm)",
    "core": "core(task[*], 0.3*lm[pt], method=ties, density=0.2, rank=8)",
    "related": "mean(task[related(yo, syntactic=0.7, geographic=0.3, preset=table5)])",
    "nearest": "mean(task[nearest(yo, 3, by=mean)])",
    "family": "mean(task[family(yo)])",
}


def test_every_function_can_be_called() -> None:
    assert set(EXAMPLES) == set(FUNCTION_BY_NAME)
    for text in EXAMPLES.values():
        check(parse(text))


def test_signatures() -> None:
    assert [function.signature for function in FUNCTIONS] == [
        "mean(x, ...)",
        "sum(x, ...)",
        "only(x, modules=...)",
        "layers(x, first=..., last=...)",
        "exact(x)",
        "onesided(x)",
        "peft_linear(x)",
        "weighted(x, to, by=syntactic)",
        "ties(x, ..., density=..., majority_sign_method=total, normalize=count, rank=...)",
        "dare(x, density=..., seed=0, rank=...)",
        "trim(x, density=..., rank=...)",
        "breadcrumbs(x, density=..., gamma=0.01, rank=...)",
        "slerp(x, y, t=..., rank=...)",
        "model_stock(x, ..., rank=...)",
        "truncate(x, rank=..., energy=...)",
        "lora(x, rank=..., energy=..., pad=...)",
        "core(x, ..., method=ties, density=0.2, rank=...)",
        "related(T, syntactic=0.7, geographic=0.3, preset=..., also=...)",
        "nearest(T, k, by=syntactic, also=...)",
        "family(T, also=...)",
    ]


@pytest.mark.parametrize(
    "pattern", ["(" * 499 + ")" * 499, "a{99999999999999999999}", "[[a]", "x" * 1001]
)
def test_regular_expressions_that_python_dislikes(pattern: str) -> None:
    text = f'only(task[en], modules="{pattern}")'
    if pattern == "[[a]":
        check(parse(text))
    else:
        with pytest.raises(CheckError, match="regular expression") as caught:
            check(parse(text))
        assert caught.value.span is not None
