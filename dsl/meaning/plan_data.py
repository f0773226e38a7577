"""Plans as plain data, and read again from what anybody may have written: each value is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from ..functions import FUNCTION_BY_NAME, Function, FunctionParameter
from ..patterns import compiled
from .plan import AdapterKey, Derived, ModuleFilter, Option, Plan, Term
from .semantics import SEMANTICS

# As many digits as a computed number can have, and no exponent, which a few letters make endless.
_NUMBER: Final = re.compile(r"-?[0-9]{1,2500}(?:/[0-9]{1,2500})?")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """A plan: its semantics and its terms."""
    return {"semantics": plan.semantics, "terms": [_term_as_json(term) for term in plan.terms]}


def plan_from_json(item: Mapping[str, Any]) -> Plan:
    """The plan of its plain data; other keys are left alone.

    Raises:
        KeyError, TypeError, ValueError: something in it is missing, or nothing that a plan holds.
        LimitError: a pattern of a filter that is too long.
    """
    if item["semantics"] not in SEMANTICS:
        raise ValueError(f"{item['semantics']!r} is no semantics")
    terms = tuple(_term(term) for term in item["terms"])
    if not terms:
        raise ValueError("a sum of nothing")
    return Plan(item["semantics"], terms)


def key_as_json(key: AdapterKey) -> dict[str, str]:
    """The digests of an adapter."""
    return {"weights": key.weights, "config": key.config}


def key_from_json(item: Mapping[str, Any]) -> AdapterKey:
    """The digests of an adapter; other keys are left alone.

    Raises:
        KeyError, TypeError, ValueError: one is missing, or is none.
    """
    for name in ("weights", "config"):
        if not _DIGEST.fullmatch(item[name]):
            raise ValueError(f"{item[name]!r} is no digest")
    return AdapterKey(item["weights"], item["config"])


def text(value: Any) -> str:
    """A value that is a text.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _term_as_json(term: Term) -> dict[str, Any]:
    atom = term.adapter
    what = {"call": _derived_as_json(atom)} if isinstance(atom, Derived) else key_as_json(atom)
    return {
        "coefficient": str(term.coefficient),
        **what,
        "filters": [kept.as_json() for kept in term.filters],
    }


def _term(item: Mapping[str, Any]) -> Term:
    coefficient = _number(item["coefficient"])
    if not coefficient:
        raise ValueError("a coefficient of zero")
    atom = _derived(item["call"]) if "call" in item else key_from_json(item)
    return Term(coefficient, atom, tuple(_filter(kept) for kept in item["filters"]))


def _number(value: Any) -> Fraction:
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"{value[:40]!r} is no fraction")
    try:
        return Fraction(value)
    except ZeroDivisionError as error:
        raise ValueError("a fraction of zero") from error


def _filter(item: Mapping[str, Any]) -> ModuleFilter:
    kept = ModuleFilter(**item)
    if kept.modules is not None:
        try:
            compiled(kept.modules)
        except re.error as error:
            raise ValueError(f"{kept.modules!r} is no regular expression") from error
    for bound in (kept.first, kept.last):
        if bound is not None and type(bound) is not int:
            raise TypeError(f"{bound!r} is no number of a layer")
    return kept


def _derived_as_json(call: Derived) -> dict[str, Any]:
    return {
        "function": call.function,
        "numbers": {name: str(v) for name, v in call.options if isinstance(v, Fraction)},
        "words": {name: v for name, v in call.options if isinstance(v, str)},
        "operands": [plan_as_json(operand) for operand in call.operands],
    }


def _derived(item: Mapping[str, Any]) -> Derived:
    function = FUNCTION_BY_NAME.get(item["function"])
    if function is None or function.works_on is None:
        raise ValueError(f"{item['function']!r} is no function known here")
    options: dict[str, Option] = {n: _number(value) for n, value in item["numbers"].items()}
    options |= {n: text(value) for n, value in item["words"].items()}
    _check_options(function, options)
    operands = tuple(plan_from_json(operand) for operand in item["operands"])
    single = sum(one.type == "adapter" for one in function.parameters)
    if len(operands) < function.fewest or (single and len(operands) != single):
        raise ValueError(f"{function.name} of {len(operands)} adapters")
    return Derived(function.name, tuple(sorted(options.items())), operands)


def _check_options(function: Function, options: Mapping[str, Option]) -> None:
    known = {one.name: one for one in function.parameters if one.type not in ("adapter", "items")}
    for name, value in options.items():
        if name not in known or not _fits(known[name], value):
            raise ValueError(f"{function.name} takes no {name}={value}")
    for name, parameter in known.items():
        if name not in options and (parameter.required or parameter.default is not None):
            raise ValueError(f"{function.name} lacks {name}")


def _fits(parameter: FunctionParameter, value: Option) -> bool:
    if isinstance(value, str):
        return value in parameter.choices
    is_whole = parameter.type != "integer" or value.denominator == 1
    return is_whole and parameter.range is not None and parameter.range.holds(value)
