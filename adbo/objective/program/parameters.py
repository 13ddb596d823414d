"""The parameters of a study file: their kinds, ranges, choices and conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from adbo.objective.program.placeholders import Value, written
from adbo.objective.program.table import Table, is_integer, nearest

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

#: Keys of a parameter of each kind.
_KEYS = {
    "float": ("kind", "low", "high", "log", "step", "when", "otherwise"),
    "int": ("kind", "low", "high", "log", "step", "when", "otherwise"),
    "categorical": ("kind", "choices", "when", "otherwise"),
}

#: Beginnings of the names that are filled in but are no parameters.
RESERVED = ("trial.", "study.", "env.")


@dataclass(frozen=True)
class Parameter:
    """A parameter.

    Parameters
    ----------
    kind
        ``"float"``, ``"int"`` or ``"categorical"``.
    low, high, log, step
        The range of a number, as Optuna defines it.
    choices
        The choices of a categorical parameter.
    when
        Names of other parameters, and the values of each with which this parameter exists.
    otherwise
        What is filled in where it does not exist; None if it must not be filled in there.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] = ()
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    otherwise: Value | None = None

    def suggest(self, name: str, trial: BaseTrial) -> Value:
        """Return the trial's value of this parameter."""
        if self.kind == "categorical":
            choice: Any = trial.suggest_categorical(name, self.choices)
            return choice
        if self.kind == "int":
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log, step=step)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def examples(self) -> tuple[Value, ...]:
        """Return values with which a format can be tried."""
        if self.kind == "categorical":
            examples = self.choices
        else:
            kind = int if self.kind == "int" else float
            examples = (kind(self.low), kind(self.high))
        if self.otherwise is None or isinstance(self.otherwise, str):  # a text has no format
            return examples
        return (*examples, self.otherwise)

    def can_be(self, value: Any) -> bool:
        """Return whether the parameter, not a float, can have a value."""
        if self.kind == "categorical":
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        step = 1 if self.step is None else int(self.step)
        return (
            is_integer(value)
            and self.low <= value <= self.high
            and (self.log or (value - int(self.low)) % step == 0)
        )


def suggest_all(parameters: Mapping[str, Parameter], trial: BaseTrial) -> dict[str, Value]:
    """Return the values of the parameters that exist in a trial, in the order of the mapping."""
    values: dict[str, Value] = {}
    for name, parameter in parameters.items():
        conditions = parameter.when.items()
        if all(other in values and values[other] in allowed for other, allowed in conditions):
            values[name] = parameter.suggest(name, trial)
    return values


def read_parameters(tables: Table) -> dict[str, Parameter]:
    """Return the checked parameters by name, each after those on which it depends."""
    if not tables.data:
        tables.fail("", "there must be at least one parameter, such as [parameters.x]")
    parameters = {name: _read(name, table, tables) for name, table in tables.tables()}
    for name, parameter in parameters.items():
        for other, values in parameter.when.items():
            _check_condition(tables.table(name), other, values, parameters)
    return _ordered(parameters, tables)


def _read(name: str, table: Table, tables: Table) -> Parameter:
    if not name or any(mark in name for mark in "{}:\n") or name.startswith(RESERVED):
        tables.fail(
            repr(name),
            "a name must not be empty, contain braces or a colon, or begin with"
            f" {', '.join(RESERVED)}",
        )
    kind = table.word("kind", tuple(_KEYS))
    table.check_keys(_KEYS[kind])
    when = _read_conditions(table.table("when"))
    otherwise = table.data.get("otherwise")
    if otherwise is not None and not isinstance(otherwise, Value):
        table.fail("otherwise", "must be a text, a number, true or false")
    if otherwise is not None and not when:
        table.fail("otherwise", "is for a parameter with a condition: there is no key 'when'")
    if kind == "categorical":
        return Parameter(kind, choices=_read_choices(table), when=when, otherwise=otherwise)
    low, high, step = (_read_limit(table, key, kind) for key in ("low", "high", "step"))
    for key, limit in (("low", low), ("high", high)):
        if limit is None:
            table.fail(key, "is missing")
    assert low is not None
    assert high is not None
    log = table.flag("log")
    _check_range(table, low, high, step, log, kind)
    return Parameter(kind, low, high, log, step, when=when, otherwise=otherwise)


def _read_limit(table: Table, key: str, kind: str) -> float | None:
    if kind == "int":
        return table.integer(key)
    number = table.number(key)
    return None if number is None else float(number)


def _read_choices(table: Table) -> tuple[Value, ...]:
    choices = table.data.get("choices")
    if choices is None:
        table.fail("choices", "is missing")
    if not isinstance(choices, list) or not choices:
        table.fail("choices", "must be a list of at least one choice")
    for index, choice in enumerate(choices):
        if not isinstance(choice, Value):
            table.fail("choices", f"{choice} is not a text, a number, true or false")
        if isinstance(choice, float) and not math.isfinite(choice):
            table.fail("choices", f"{choice} is not a finite number")
        if choice in choices[:index]:
            table.fail("choices", f"{written(choice)} is equal to an earlier choice")
    return tuple(choices)


def _read_conditions(table: Table) -> dict[str, tuple[Value, ...]]:
    conditions = {}
    for name, value in table.data.items():
        values = tuple(value) if isinstance(value, list) else (value,)
        if not values or not all(isinstance(x, Value) for x in values):
            table.fail(name, "must be a value of that parameter, or a list of its values")
        conditions[name] = values
    return conditions


def _check_range(
    table: Table, low: float, high: float, step: float | None, log: bool, kind: str
) -> None:
    if low > high:
        table.fail("low", f"is {low}: it must not be above high, {high}")
    if not math.isfinite(float(high) - float(low)):
        table.fail("high", "the range is too wide for a floating-point number")
    if kind == "int" and max(-low, high) >= 2**63:
        table.fail("high" if high >= 2**63 else "low", "must fit into 64 bits")
    if log and low <= 0:
        table.fail("low", f"is {low}: with log = true it must be positive")
    if step is not None:
        _check_step(table, low, high, step, log)


def _check_step(table: Table, low: float, high: float, step: float, log: bool) -> None:
    if log:
        table.fail("step", "must not be given with log = true")
    if step <= 0:
        table.fail("step", f"is {step}: it must be positive")
    # As decimal numbers, since 0.1 + 0.2 is not exactly 0.3.
    exact_low, exact_high, exact_step = (Fraction(str(number)) for number in (low, high, step))
    if (exact_high - exact_low) % exact_step:
        table.fail("high", f"is {high}: it must be low, {low}, plus a multiple of step, {step}")


def _check_condition(
    table: Table, other: str, values: tuple[Value, ...], parameters: Mapping[str, Parameter]
) -> None:
    condition = table.table("when")
    if other not in parameters:
        condition.fail(other, f"is not a parameter{nearest(other, parameters)}")
    if parameters[other].kind == "float":
        condition.fail(other, "is a float: conditions need a categorical or an int parameter")
    for value in values:
        if not parameters[other].can_be(value):
            condition.fail(other, f"{written(value)} is not a value of parameter {other!r}")


def _ordered(parameters: Mapping[str, Parameter], tables: Table) -> dict[str, Parameter]:
    """Return the parameters in the order of the file, but each after those it depends on."""
    ordered: dict[str, Parameter] = {}

    def visit(names: Iterable[str], path: tuple[str, ...]) -> None:
        for name in names:
            if name in path:
                cycle = (*path[path.index(name) :], name)
                tables.table(name).fail("when", f"a cycle of conditions: {' -> '.join(cycle)}")
            if name not in ordered:
                visit(parameters[name].when, (*path, name))
                ordered[name] = parameters[name]

    visit(parameters, ())
    return ordered
