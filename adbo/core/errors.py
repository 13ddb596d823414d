"""Errors that are reported to the user on one line."""

from __future__ import annotations


class UsageError(ValueError):
    """Wrong usage; the message is one line that says what is wrong and what would be right."""


def one_line(error: BaseException) -> str:
    """Return the text of an error on one line, empty if it has none."""
    try:
        return " ".join(str(error).split())
    except Exception:  # the __str__ of a user's exception may itself raise
        return ""
