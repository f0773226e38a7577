"""The language as data: tests/cases/*.json say what every text means, or the whole of its error.

A case has an `expression` (and `given`, the texts of its parameters) or a `query`, and either a
`result` or an `error` with the class that it `raises`. A result gives the printed `program`, for
some the `tree` in one line, and the `bindings`, `scalars` and `languages` where there are any.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from isogloss.dsl.checks.check import check
from isogloss.dsl.errors import DslError
from isogloss.dsl.syntax import (
    AllLanguages,
    Call,
    LanguageSet,
    Negative,
    Product,
    Selector,
    Sum,
    Tag,
)
from isogloss.dsl.text.parse import parse
from isogloss.dsl.text.print import print_expression, print_program
from isogloss.dsl.text.query import parse_query

FOLDER = Path(__file__).parent.parent / "cases"
CASES: dict[str, dict[str, Any]] = {
    f"{path.stem}-{number}": case
    for path in sorted(FOLDER.glob("*.json"))
    for number, case in enumerate(json.loads(path.read_text(encoding="utf-8")))
}


def outline(node: object) -> str:
    """Return a tree in one line, with a list for every node that has parts."""
    match node:
        case Sum():
            parts = [("-" if one.negative else "") + outline(one.expression) for one in node.terms]
            return f"(sum {' '.join(parts)})"
        case Product():
            parts = [("/" if one.divide else "") + outline(one.expression) for one in node.factors]
            return f"(product {' '.join(parts)})"
        case Negative():
            return f"(negative {outline(node.operand)})"
        case Call():
            parts = [
                (f"{one.name}=" if one.name else "") + outline(one.value) for one in node.arguments
            ]
            return f"({' '.join([node.function, *parts])})"
        case Selector():
            return f"{node.head}[{outline(node.languages)}]"
        case LanguageSet():
            return f"({' '.join([node.operator, *map(outline, node.operands)])})"
        case AllLanguages():
            return "*"
        case Tag() if node.text != node.normal:
            return f"{node.text}:{node.normal}"
        case _:
            return print_expression(node)  # type: ignore[arg-type]


def outcome_of_program(case: dict[str, Any]) -> dict[str, Any]:
    program = parse(case["expression"])
    checked = check(program, case.get("given", {}))
    facts = {
        "program": print_program(program),
        "tree": outline(program.expression),
        "bindings": dict(checked.types),
        "scalars": {name: str(value) for name, value in checked.scalars.items()},
        "languages": dict(checked.languages),
    }
    if "tree" not in case.get("result", {"tree": ""}):
        del facts["tree"]
    return {key: value for key, value in facts.items() if value}


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    try:
        if "query" in case:
            return {"result": json.loads(json.dumps(parse_query(case["query"])))}
        return {"result": outcome_of_program(case)}
    except DslError as error:
        return {"raises": type(error).__name__, "error": str(error).split("\n")}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    case = CASES[name]
    expected = {key: case[key] for key in ("result", "raises", "error") if key in case}
    assert outcome(case) == expected


def test_printed_programs_stay_as_they_are() -> None:
    programs = [case for case in CASES.values() if "result" in case and "expression" in case]
    assert len(programs) > 100
    for case in programs:
        printed = case["result"]["program"]
        assert print_program(parse(printed)) == printed
        assert parse(printed) == parse(case["expression"])


def test_the_cases_are_many_and_each_is_there_once() -> None:
    texts = Counter(
        json.dumps([case.get("expression"), case.get("query"), case.get("given")])
        for case in CASES.values()
    )
    assert [text for text, count in texts.items() if count > 1] == []
    assert len(CASES) >= 170
    assert len([case for case in CASES.values() if "error" in case]) >= 70
