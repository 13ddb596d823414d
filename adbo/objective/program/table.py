"""A table of a study file: typed values by key, and errors that name their place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable
from typing import Any, NoReturn

from adbo.core.errors import UsageError


class Table:
    """A table of a TOML file whose values are checked as they are read.

    Parameters
    ----------
    data
        What the TOML parser returned.
    file
        The name of the file, for errors.
    place
        The dotted key of the table, empty for the whole file.
    """

    def __init__(self, data: dict[str, Any], file: str, place: str = "") -> None:
        self.data = data
        self._file = file
        self._place = place

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise the UsageError of a key, or of the whole table if the key is empty."""
        place = ".".join(part for part in (self._place, key) if part)
        raise UsageError(": ".join(part for part in (self._file, place, problem) if part))

    def check_keys(self, known: Collection[str]) -> None:
        """Raise UsageError for a key that is not known, with the nearest one that is."""
        for key in self.data:
            if key not in known:
                self.fail(key, f"unknown key{nearest(key, known)}")

    def table(self, key: str) -> Table:
        """Return a table within; an empty one if the key is missing."""
        data = self.data.get(key, {})
        if not isinstance(data, dict):
            self.fail(key, f"must be a table, [{key}]")
        place = f"{self._place}.{key}" if self._place else key
        return Table(data, self._file, place)

    def tables(self) -> Iterable[tuple[str, Table]]:
        """Return the keys and tables of a table of tables."""
        return [(key, self.table(key)) for key in self.data]

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return a text, which must not be empty."""
        value = self.data.get(key, default)
        if value is not default and not (isinstance(value, str) and value):
            self.fail(key, "must be a text in quotes")
        if isinstance(value, str) and "\0" in value:
            self.fail(key, "must not contain a null character")
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of texts; an empty one if the key is missing."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(x, str) and x for x in value):
            self.fail(key, "must be a list of texts")
        return value

    def word(self, key: str, words: tuple[str, ...], default: str | None = None) -> str:
        """Return one of some words; without a default it must be given."""
        value = self.data.get(key, default)
        if value not in words:
            meant = nearest(value, words) if isinstance(value, str) else ""
            self.fail(key, f"must be one of {', '.join(map(repr, words))}{meant}")
        return str(value)

    def flag(self, key: str) -> bool:
        """Return true or false; false if the key is missing."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            self.fail(key, "must be true or false")
        return value

    def number(self, key: str) -> float | None:
        """Return a finite number, None if the key is missing."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(key, "must be a number")
        if not _is_finite(value):
            self.fail(key, "must be a finite number")
        return value

    def integer(self, key: str) -> int | None:
        """Return an integer, None if the key is missing."""
        value = self.data.get(key)
        if value is not None and not is_integer(value):
            self.fail(key, "must be an integer")
        return value


def is_integer(value: Any) -> bool:
    """Return whether a value of a TOML file is an integer."""
    return isinstance(value, int) and not isinstance(value, bool)


def nearest(word: str, known: Collection[str]) -> str:
    """Return a question for the known word that resembles a word, empty if none does."""
    found = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {found[0]!r}?" if found else ""


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False
