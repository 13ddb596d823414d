"""Inserting many rows into a table, in the fastest way of each database driver."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

#: One row. Its values are what every driver takes: enumerations and times are text.
Row = tuple[int | float | str | None, ...]


def insert(
    connection: Connection, table: sa.Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Insert rows.

    Parameters
    ----------
    connection
        A connection in a transaction.
    table
        The table.
    columns
        The names of its columns, in the order of the values in a row.
    rows
        The rows; may be empty.
    """
    if rows:
        _INSERTERS.get(connection.dialect.driver, _insert_any)(connection, table, columns, rows)


def _insert_any(
    connection: Connection, table: sa.Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Insert by any driver, through SQLAlchemy."""
    connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])


def _insert_many(
    connection: Connection, table: sa.Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Insert by a driver whose ``executemany`` is fast."""
    connection.exec_driver_sql(_statement(connection.dialect, table, columns), list(rows))


@functools.lru_cache
def _statement(dialect: Dialect, table: sa.Table, columns: tuple[str, ...]) -> str:
    quoted = ", ".join(map(dialect.identifier_preparer.quote, columns))
    places = ", ".join(["?" if dialect.paramstyle == "qmark" else "%s"] * len(columns))
    return f"INSERT INTO {table.name} ({quoted}) VALUES ({places})"


def _insert_text(
    connection: Connection, table: sa.Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Insert by one statement with all values, which PyMySQL itself would build more slowly."""
    names = ", ".join(map(connection.dialect.identifier_preparer.quote, columns))
    driver: Any = connection.connection
    texts = [f"({','.join(texts)})" for texts in _texts(rows, driver.escape, _double, "NULL")]
    plainly = connection.execution_options(no_parameters=True)
    while texts:
        ends = itertools.accumulate(map(len, texts))
        number = max(1, sum(1 for _ in itertools.takewhile(_PACKET.__ge__, ends)))
        values = ",".join(texts[:number])
        plainly.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES {values}")
        del texts[:number]


#: Characters in one statement. MySQL takes 4 MB or more, depending on its configuration.
_PACKET = 1_000_000


def _double(number: float) -> str:
    """Return a number as a text that MySQL reads as a double and not as a decimal number."""
    text = repr(number)
    return text if "e" in text else f"{text}e0"


def _copy(
    connection: Connection, table: sa.Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Insert by PostgreSQL's ``COPY``, which need not parse and plan a statement."""
    text = "".join(["\t".join(texts) + "\n" for texts in _texts(rows, _copied, repr, "\\N")])
    names = ", ".join(columns)
    cursor: Any = connection.connection.cursor()
    with cursor:
        cursor.copy_expert(f"COPY {table.name} ({names}) FROM STDIN", io.StringIO(text))


#: Escapes of the characters that have a meaning in the text format of ``COPY``.
_SPECIAL = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(text: str) -> str:
    return text.translate(_SPECIAL)


def _texts(
    rows: Sequence[Row], string: Callable[[str], str], number: Callable[[float], str], null: str
) -> Iterator[list[str]]:
    """Yield the values of each row as texts; floats keep all their digits."""
    known: dict[str, str] = {}  # most strings are names and distributions, repeated in many rows

    def text(value: int | float | str | None) -> str:
        if isinstance(value, str):
            found = known.get(value)
            if found is None:
                found = known[value] = string(value)
            return found
        if value is None:
            return null
        return number(value) if isinstance(value, float) else repr(value)

    for row in rows:
        yield list(map(text, row))


_Inserter = Callable[[Connection, sa.Table, tuple[str, ...], Sequence[Row]], None]

_INSERTERS: dict[str, _Inserter] = {
    "pysqlite": _insert_many,
    "pymysql": _insert_text,
    "mysqldb": _insert_many,
    "psycopg2": _copy,
}
