"""Texts with placeholders: filling is exact, and what is wrong is found with its line."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adbo.objective.program.placeholders import parse, written


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(0.1 + 0.2)
@example(-1.7976931348623157e308)
def test_a_float_is_read_back_exactly(value: float) -> None:
    text = parse("x = {x};").fill({"x": value})
    assert float(text.removeprefix("x = ").removesuffix(";")) == value


@given(st.integers(-(2**63), 2**63))
def test_an_integer_is_read_back_exactly(value: int) -> None:
    assert int(parse("{n}").fill({"n": value})) == value


@given(st.text())
@example("{x}}} {{")
def test_doubled_braces_are_braces(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert parse(doubled).fill({}) == text


@given(st.text())
def test_values_are_filled_in_as_they_are(value: str) -> None:
    assert parse("<{s}>").fill({"s": value}) == f"<{value}>"


def test_formats() -> None:
    text = parse("{x:.3e} {n:04d} {s:>4} {flag} {x}")
    values = {"x": 0.1, "n": 7, "s": "cg", "flag": True}
    assert text.fill(values) == "1.000e-01 0007   cg true 0.1"
    assert written(False) == "false"


def test_names_may_have_dots_and_dashes() -> None:
    assert parse("{layers.0.units} {l-r}").fill({"layers.0.units": 3, "l-r": 0.5}) == "3 0.5"


def test_other_marks_leave_braces_alone() -> None:
    text = parse('{"x": <<x:.2f>>, "y": {}}', ("<<", ">>"))
    assert text.fill({"x": 1.5}) == '{"x": 1.50, "y": {}}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "line 1: a single '{'; write '{{' for it"),
        ("a\n\nb } c", "line 3: a single '}'; write '}}' for it"),
        ("a\n{}", "line 2: a placeholder has no name"),
        ("{x\n}", "line 1: a single '{'"),
        ("{x:{w}}", "line 1: a single '{'"),
    ],
)
def test_what_is_wrong_is_found_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^line") as caught:
        parse(text)
    assert str(caught.value).startswith(problem)
