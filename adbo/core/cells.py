"""Values of parameters and attributes as cells of a CSV file, and back without loss.

A cell holds the JSON text of a value. A string is written without quotation marks unless its text
would be read as something else: ``abc`` is a string, ``1`` a number, and ``"1"`` a string again.
So is one that UTF-8 cannot write, such as the path of a file whose name is in another encoding,
and one with a carriage return, which the csv module does not quote but takes for the end of a row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def cell_of(value: Any) -> str:
    """Return a value that JSON can hold as the text of a cell, which is never empty."""
    if isinstance(value, str) and value and _is_read_as_it_is(value):
        return value
    return json.dumps(value)


def value_of(cell: str) -> Any:
    """Return the value of a cell that is not empty: what its text means as JSON, else the text."""
    try:
        return json.loads(cell)
    except ValueError:
        return cell.strip()


def meant_choice(value: Any, choices: Sequence[Any]) -> Any:
    """Return the choice that a value of a file means.

    Returns
    -------
    object
        The choice that equals the value if there is one (but 1 does not equal True); else the one
        that has the same text, if it is exactly one, such as ``"1"`` for 1 or True for ``"True"``;
        else the value.
    """
    if any(_is_same(choice, value) for choice in choices):
        return value
    alike = [choice for choice in choices if _looks_like(choice, value)]
    return alike[0] if len(alike) == 1 else value


def _is_read_as_it_is(text: str) -> bool:
    is_written = text == text.encode(errors="ignore").decode() and "\r" not in text
    return is_written and value_of(text) == text == text.strip()


def _is_same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _looks_like(choice: Any, value: Any) -> bool:
    if isinstance(choice, str):
        read = value_of(choice)
        if type(read) is type(value) and read == value:
            return True
    return bool({str(choice), cell_of(choice)} & {str(value), cell_of(value)})
