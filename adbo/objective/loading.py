"""Finding the objective that the user named: in a file, in a module, or a test function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from adbo.benchmark_functions.names import NAMES
from adbo.benchmark_functions.problems import parse
from adbo.objective.evaluate import Objective, describe_error


class ObjectiveError(ValueError):
    """The objective cannot be had; the message is one line for the user."""


def load(text: str) -> Objective:
    """Find the objective that the user named.

    Parameters
    ----------
    text
        ``path/file.py:function``, ``package.module:function``, or a test function with an
        optional dimension such as ``ackley:10``.

    Raises
    ------
    ObjectiveError
        If there is no such file, module, function or test function, or importing it fails.
    """
    source, colon, name = text.rpartition(":")
    if not colon or source in NAMES:
        try:
            return parse(text).objective
        except ValueError as error:
            if text.partition(":")[0] in NAMES:
                raise ObjectiveError(str(error)) from None
            raise ObjectiveError(
                f"no objective {text!r}: give path/file.py:function, package.module:function"
                f" or a test function ({', '.join(NAMES)})"
            ) from None
    module = _import_file(source) if source.endswith(".py") else _import_module(source)
    function = getattr(module, name, None)
    if function is None:
        raise ObjectiveError(f"{source} has no function {name!r}")
    if not callable(function):
        raise ObjectiveError(
            f"{text} is a {type(function).__name__}: the objective must be a function of a trial"
        )
    return function


def _import_file(source: str) -> Any:
    path = Path(source)
    if not path.is_file():
        raise ObjectiveError(f"no file {source!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As `python file.py` would: its neighbours can be imported, and what it defines pickled.
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ObjectiveError(f"cannot import {source}: {describe_error(error)}") from error
    return module


def _import_module(source: str) -> Any:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise ObjectiveError(f"cannot import {source}: {describe_error(error)}") from error
