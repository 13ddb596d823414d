"""The user's predicate of the parameters, which every proposed point satisfies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adbo.core.errors import UsageError, one_line

#: Returns whether parameters, by name, may be evaluated.
Predicate = Callable[[Mapping[str, Any]], Any]

#: Random points that are drawn before the predicate is taken for one that allows none.
DRAWS = 10_000


class NotAllowedError(UsageError):
    """The predicate fails, or allows nothing; the message is one line for the user."""


def is_allowed(predicate: Predicate, params: Mapping[str, Any]) -> bool:
    """Return whether a predicate allows parameters.

    A predicate that asks for a parameter which is not there, because a branch does not have it or
    the objective has not suggested it yet, allows the others.

    Raises
    ------
    NotAllowedError
        If the predicate raises anything but KeyError.
    """
    try:
        return bool(predicate(dict(params)))
    except KeyError:
        return True
    except (Exception, SystemExit) as error:
        raise NotAllowedError(
            "the function that says what is allowed raised"
            f" {type(error).__name__}: {one_line(error)}"
        ) from error


class NothingAllowedError(NotAllowedError):
    """No random point is allowed."""

    def __str__(self) -> str:
        return (
            f"none of {DRAWS:,} random points is allowed: choose ranges, or parameters, of which"
            " more are"
        )


class DeadEndError(Exception):
    """No value of a parameter is allowed together with those before it."""
