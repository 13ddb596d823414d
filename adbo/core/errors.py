"""What is wrong, in one line that a user understands."""

from __future__ import annotations


class UsageError(ValueError):
    """The user asked for something impossible; the message is one line that says what is right."""


def one_line(error: BaseException) -> str:
    """An error's text on one line, empty if it has none."""
    try:
        return " ".join(str(error).split())
    except Exception:  # a user's class may fail to say what went wrong
        return ""
