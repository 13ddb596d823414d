"""Errors that are reported to the user on one line, and their texts."""

from __future__ import annotations

import signal


class UsageError(ValueError):
    """Wrong usage; the message is one line that says what is wrong and what would be right."""


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def one_line(error: BaseException) -> str:
    """Return the text of an error on one line, empty if it has none."""
    try:
        return " ".join(str(error).split())
    except Exception:  # the __str__ of a user's exception may itself raise
        return ""
