"""Loading the objective that the user named: from a file or a module, or a test function."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from adbo.benchmark_functions.problems import parse
from adbo.core.allowed import Predicate
from adbo.core.errors import UsageError
from adbo.objective.evaluate import Objective, describe_error
from adbo.objective.program.objective import load_program
from adbo.objective.reference import (
    check_file,
    check_test_function,
    is_study_file,
    is_test_function,
)


def load(text: str) -> Objective:
    """Return the objective that the user named.

    Parameters
    ----------
    text
        ``path/file.py:function``, ``package.module:function``, ``path/study.toml``, or a test
        function with an optional dimension such as ``ackley:10``. Instead of a function it may
        name a method, such as ``file.py:instance.method``.

    Raises
    ------
    UsageError
        If there is no such file, module, function or test function, if importing it fails, or if
        what is named cannot be called with a trial.
    """
    check_test_function(text)
    if is_test_function(text):
        return parse(text).objective
    if is_study_file(text):
        return load_program(text)
    check_file(text)
    function = _function(text)
    check_objective(function, text)
    return function


def load_predicate(name: str, objective: str) -> Predicate:
    """Return the function of a name that is beside the objective.

    Raises
    ------
    UsageError
        If there is none, or it cannot be called with the parameters.
    """
    if is_test_function(objective) or is_study_file(objective):
        raise UsageError(f"--allowed {name} needs an objective that is a function in Python")
    text = f"{objective.rpartition(':')[0]}:{name}"
    function = _function(text)
    if not callable(function):
        raise UsageError(f"{text} is no function of the parameters")
    return function


def _function(text: str) -> Any:
    """Return what the name after the last colon means in the file or module before it."""
    source, _, name = text.rpartition(":")
    module = _import_file(source) if source.endswith(".py") else _import_module(source)
    return _find(module, source, name)


def is_working_directory(path: Path) -> bool:
    """Return whether this process works in a directory; if it was deleted, in none."""
    try:
        return Path.cwd() == path
    except FileNotFoundError:
        return False


def check_objective(function: Any, name: str) -> None:
    """Raise UsageError if an objective cannot be called with a trial.

    Parameters
    ----------
    function
        What the user has given.
    name
        How to call it in the message.
    """
    if isinstance(function, type):
        kind = function.__name__
        raise UsageError(
            f"{name} is a class: make an instance, as by objective = {kind}(...), and name that"
        )
    if not callable(function):
        raise UsageError(
            f"{name} is of type {type(function).__name__}: it must be a function of a trial"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # as of some functions written in C
    try:
        signature.bind(None)
    except TypeError:
        raise UsageError(f"{name}{signature} {_refusal(function, signature)}") from None


def _refusal(function: Any, signature: inspect.Signature) -> str:
    """Return what is wrong with a function that does not take one argument."""
    if next(iter(signature.parameters), None) == "self":
        kind = function.__qualname__.rpartition(".")[0]
        return (
            f"needs an instance: make one, as by solver = {kind}(...), and name"
            f" solver.{function.__name__}"
        )
    return "cannot be called with one argument, the trial"


def _find(module: Any, source: str, name: str) -> Any:
    """Return what a dotted name means in a module."""
    found = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{source} has no function {name!r}") from None
    return found


@functools.cache
def _import_file(source: str) -> Any:
    path = Path(source).absolute()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As with `python file.py`: modules beside it can be imported, and its functions pickled.
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"cannot import {source}: {describe_error(error)}") from error
    return module


def _import_module(source: str) -> Any:
    # Not "", which would mean another directory after the objective has changed it.
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise UsageError(f"cannot import {source}: {describe_error(error)}") from error
