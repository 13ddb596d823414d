"""Errors that are reported to the user on one line, and their texts."""

from __future__ import annotations

import signal

#: Characters of the text of an error that are shown and stored.
_LONGEST = 2000


class UsageError(ValueError):
    """Wrong usage; the message is one line that says what is wrong and what would be right."""


class RankDied(RuntimeError):
    """A rank died while all ranks were needed; the message is one line.

    Parameters
    ----------
    text
        The message.
    speaks
        Whether this rank shall tell it and end the job: the lowest one that lives.
    """

    def __init__(self, text: str, speaks: bool) -> None:
        super().__init__(text)
        self.speaks = speaks


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def one_line(error: object) -> str:
    """Return the text of an error on one line, shortened if it is long; empty if it has none.

    Null characters are left out: no variable of the environment, argument or file name has one.
    """
    try:
        text = " ".join(str(error).replace("\0", "").split())
    except Exception:  # the __str__ of a user's exception may itself raise
        return ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
