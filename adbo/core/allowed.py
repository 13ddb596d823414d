"""The user's predicate of the parameters, which every proposed point satisfies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adbo.core.errors import UsageError

#: Returns whether parameters, by name, may be evaluated.
Predicate = Callable[[Mapping[str, Any]], Any]


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
            f"the function that says what is allowed raised {type(error).__name__}: {error}"
        ) from error


def nothing_allowed(n: int) -> NotAllowedError:
    """Return the error that no point was found."""
    return NotAllowedError(
        f"none of {n:,} random points is allowed: choose ranges, or parameters, of which more are"
    )


#: Values of one parameter that are drawn before the predicate is taken for one that allows none.
_DRAWS = 10_000


def draw_allowed(
    predicate: Predicate | None, params: Mapping[str, Any], name: str, draw: Callable[[], Any]
) -> Any:
    """Return a value of a parameter that is allowed together with those before it.

    Parameters
    ----------
    predicate
        Allows parameters or not; None to allow all.
    params
        The parameters that the trial has already.
    name
        The name of the next one.
    draw
        Draws a value.

    Raises
    ------
    NotAllowedError
        If none was found, or the predicate fails.
    """
    for _ in range(_DRAWS):
        value = draw()
        if predicate is None or is_allowed(predicate, {**params, name: value}):
            return value
    raise nothing_allowed(_DRAWS)
