"""Where the value of a program is found: in its standard output or a file, and how."""

from __future__ import annotations

import io
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbo.objective.program.table import Table

#: The files of a trial's directory that hold what the program wrote to its standard streams.
STDOUT, STDERR = "stdout.txt", "stderr.txt"

_KEYS = ("file", "take", "json", "regex")

_TAKES = ("last line", "last number")

#: A number without a sign, as C, Fortran and Python write it. Fortran writes 1.0D-3 for double
#: precision, and leaves out the letter of an exponent of three digits, as in 0.1-100.
_UNSIGNED = (
    r"(?:(?:\d+\.?\d*|\.\d+)(?:[ed][-+]?\d+)?|(?:\d+\.\d*|\.\d+)[-+][1-9]\d\d"
    r"|nan\b|inf(?:inity)?\b)"
)
_NUMBER = re.compile(rf"[-+]?{_UNSIGNED}", re.IGNORECASE)

#: A number with a comma before each three digits.
_THOUSANDS = r"\d{1,3}(?:,\d{3})+(?:\.\d*)?"

#: A number with a comma before its decimals, as in many locales, or two integers.
_DECIMALS = r"\d+,\d+(?:[ed][-+]?\d+)?(?![.,]?\d)"

#: A number in a text, or several that are joined, such as 12:30 or 1,234.5, but not 1,0.5. These
#: are found as a whole, and are no number, so that a part of them is never taken for one. The
#: group is what follows directly, such as a unit; with it, it is a word.
_JOINED = re.compile(
    r"(?<![\w.])(?<!\d[:/^'])[-+]?"
    rf"(?:(?<!,)(?:{_THOUSANDS}(?![\d,])|{_DECIMALS})|{_UNSIGNED}(?:[-+:/^']+{_UNSIGNED})*)"
    r"([\w.]*\w)?",
    re.IGNORECASE,
)

#: Some locales write it before negative numbers.
_MINUS = "\N{MINUS SIGN}"

#: The last line is looked for in this number of bytes at the end of an output, which may be long.
_TAIL = 2**24

#: Messages quote this number of characters of what a program wrote.
_QUOTED = 200


class NotFound(Exception):
    """The output of a program has no value where it should have one."""


@dataclass(frozen=True)
class Extraction:
    """Where a value is found.

    Parameters
    ----------
    file
        A file in the trial's directory; None for the standard output.
    take
        ``"last line"``, which must be a number, or ``"last number"``.
    json
        The dotted path of a key in a JSON document, or None.
    regex
        A regular expression whose one group is the value at its last match, or None.
    """

    file: str | None = None
    take: str = "last line"
    json: str | None = None
    regex: re.Pattern[str] | None = None

    def number(self, directory: Path) -> float:
        """Return the value, a number; raise NotFound if there is none."""
        found = self.found(directory)
        number = as_number(found) if isinstance(found, str) else found
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise NotFound(f"{self._where}: {_quoted(found)} is not a number")
        try:
            number = float(number)
        except OverflowError:
            raise NotFound(f"{self._where}: an integer beyond the range of floats") from None
        if math.isnan(number):
            raise NotFound(f"{self._where}: the value is nan")
        return number

    def found(self, directory: Path) -> Any:
        """Return what the trial's directory has: a text, or any value of a JSON document."""
        path = directory / (self.file or STDOUT)
        try:
            text = _read(path, is_whole=bool(self.json or self.regex or self.take != "last line"))
        except OSError as error:
            raise NotFound(f"cannot read {self.file or STDOUT}: {error.strerror}") from None
        where = self._where
        if self.json is not None:
            return _key(_document(text, where), self.json, where)
        if self.regex is not None:
            matches = [match[1] for match in self.regex.finditer(text)]
            if not matches or matches[-1] is None:
                raise NotFound(f"{where}: nothing matches {self.regex.pattern!r}")
            return matches[-1].strip()
        if self.take == "last number":
            joined = _JOINED.finditer(text.replace(_MINUS, "-"))
            numbers = [match[0] for match in joined if not match[1]]
            if not numbers:
                raise NotFound(f"{where}: there is no number")
            return numbers[-1]
        return _last_line(text, where)

    @property
    def _where(self) -> str:
        return self.file or "standard output"


def read_extraction(table: Table) -> Extraction:
    """Return the checked content of a table such as ``[value]``."""
    table.check_keys(_KEYS)
    given = [key for key in ("take", "json", "regex") if key in table.data]
    if len(given) > 1:
        table.fail(given[1], f"only one of take, json and regex can be given, not {given[0]}, too")
    file, path, pattern = (table.text(key) for key in ("file", "json", "regex"))
    take = table.word("take", _TAKES, _TAKES[0])
    regex = None if pattern is None else read_regex(table, pattern)
    return Extraction(file, take, path, regex)


def read_regex(table: Table, pattern: str) -> re.Pattern[str]:
    """Return the regular expression under the key ``regex``, which has one group."""
    try:
        regex = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        table.fail("regex", f"is not a regular expression: {error}")
    if regex.groups != 1:
        table.fail("regex", f"has {regex.groups} groups in parentheses: it must have one")
    return regex


def as_number(text: str) -> float | None:
    """Return the number that a text is, with an exponent of C or Fortran; None if it is none."""
    match = _NUMBER.fullmatch(text.strip().replace(_MINUS, "-"))
    if match is None:
        return None
    return float(re.sub(r"[dD](?=[-+\d])|(?<=[\d.])(?=[-+])", "e", match[0]))


def _read(path: Path, *, is_whole: bool) -> str:
    """Return the text of a file, or of its end."""
    with path.open("rb") as file:
        if not is_whole:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return io.TextIOWrapper(file, encoding="utf-8", errors="replace").read()


def _document(text: str, where: str) -> Any:
    """Return the JSON document that the text, or at least its last line, is."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return json.loads(_last_line(text, where))
    except ValueError as error:
        raise NotFound(f"{where}: not a JSON document: {error}") from None


def _key(document: Any, path: str, where: str) -> Any:
    value = document
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise NotFound(f"{where}: there is no {key!r} of the JSON key {path}")
    return value


def _last_line(text: str, where: str) -> str:
    line = text.rstrip().rpartition("\n")[2].strip()
    if not line:
        raise NotFound(f"{where} is empty")
    return line


def _quoted(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
