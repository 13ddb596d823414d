"""The points of ``--enqueue``: a file with a point on each line, as CSV or as JSON objects."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adbo.core.cells import value_of
from adbo.core.errors import UsageError

#: The prefix of parameters in the CSV file of a study.
_PARAMS = "params_"

#: Characters of a cell; attributes in the CSV file of a study can be longer than 131,072, which is
#: the default of the csv module.
_FIELD = 2**31 - 1


def read_points(path: Path) -> list[dict[str, Any]]:
    """Return the points of a file, name to value of the parameters that each of them fixes.

    A file whose first line begins with ``{`` holds one JSON object on each line. Any other file
    is CSV with the names of the parameters in the first row. If names begin with ``params_``, as
    in the CSV file of a study, only these columns count. Empty cells fix nothing, and rows without
    a value are left out.

    Raises
    ------
    UsageError
        If the file cannot be read or is wrong; the message has the number of the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}") from None
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise UsageError(f"{path} is empty: it must have a point on each line")
    parse = _from_json if first.lstrip().startswith("{") else _from_csv
    try:
        points = [point for point in parse(lines) if point]
    except _WrongLine as error:
        raise UsageError(f"{path}, line {error.number}: {error}") from None
    if not points:
        raise UsageError(f"{path} has no point: it must have one on each line, after any header")
    return points


class _WrongLine(ValueError):
    """What is wrong with a line."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


def _from_json(lines: list[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            point = json.loads(line)
        except ValueError as error:
            raise _WrongLine(number, f"it is not JSON ({error})") from None
        if not isinstance(point, dict):
            raise _WrongLine(number, "it must be a JSON object, parameter names to values")
        for name, value in point.items():
            _check(number, name, value)
        yield point


def _from_csv(lines: list[str]) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(_FIELD)
    rows = csv.reader(lines, skipinitialspace=True, strict=True)
    names: dict[int, str] | None = None
    width = 0
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if names is None:
                names, width = _names(rows.line_num, row), len(row)
                continue
            if len(row) != width:
                raise _WrongLine(
                    rows.line_num, f"it has {len(row)} cells: it must have {width}, as the header"
                )
            point = {n: value_of(row[i]) for i, n in names.items() if row[i].strip()}
            for name, value in point.items():
                _check(rows.line_num, name, value)
            yield point
    except csv.Error as error:
        raise _WrongLine(rows.line_num, f"it is not CSV ({error})") from None


def _names(number: int, header: list[str]) -> dict[int, str]:
    """Return the column and the name of each parameter."""
    names = dict(enumerate(name.strip() for name in header))
    if any(name.startswith(_PARAMS) for name in names.values()):
        names = {
            i: name.removeprefix(_PARAMS) for i, name in names.items() if name.startswith(_PARAMS)
        }
    for name in names.values():
        if not name:
            raise _WrongLine(number, "a column has no name: it must be that of a parameter")
        if list(names.values()).count(name) > 1:
            raise _WrongLine(number, f"there are several columns {name!r}")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise _WrongLine(number, "the names of the parameters must be separated by commas")
    return names


def _check(number: int, name: str, value: Any) -> None:
    if isinstance(value, list | dict):
        raise _WrongLine(
            number,
            f"{name} is {json.dumps(value)}: it must be a number, a boolean, a string or null",
        )
