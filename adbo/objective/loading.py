"""Loading the objective that the user named: from a file or a module, or a test function."""

from __future__ import annotations

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
    return _objective_in(_import(text), text)


def load_both(text: str, name: str) -> tuple[Objective, Predicate]:
    """Return the objective that the user named, and the function of a name that is beside it.

    Raises
    ------
    UsageError
        If there is no such function, or it cannot be called with the parameters; and see `load`.
    """
    if is_test_function(text) or is_study_file(text):
        raise UsageError(f"--allowed {name} needs an objective that is a function in Python")
    check_file(text)
    module, source = _import(text), text.rpartition(":")[0]
    predicate = _find(module, source, name)
    _check_function(predicate, f"{source}:{name}", "the parameters")
    return _objective_in(module, text), predicate


def _import(text: str) -> Any:
    """Import the file or module before the last colon."""
    source = text.rpartition(":")[0]
    return _import_file(source) if source.endswith(".py") else _import_module(source)


def _objective_in(module: Any, text: str) -> Objective:
    source, _, name = text.rpartition(":")
    function: Objective = _find(module, source, name)
    check_objective(function, text)
    return function


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
    _check_function(function, name, "the trial")


def _check_function(function: Any, name: str, argument: str) -> None:
    """Raise UsageError if a function cannot be called with one argument."""
    if isinstance(function, type):
        kind = function.__name__
        raise UsageError(
            f"{name} is a class: make an instance, as by instance = {kind}(...), and name that"
        )
    if not callable(function):
        raise UsageError(
            f"{name} is of type {type(function).__name__}: it must be a function of {argument}"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # as of some functions written in C
    try:
        signature.bind(None)
    except TypeError:
        raise UsageError(f"{name}{signature} {_refusal(function, signature, argument)}") from None


def _refusal(function: Any, signature: inspect.Signature, argument: str) -> str:
    """Return what is wrong with a function that does not take one argument."""
    if next(iter(signature.parameters), None) == "self":
        kind = function.__qualname__.rpartition(".")[0]
        return (
            f"needs an instance: make one, as by solver = {kind}(...), and name"
            f" solver.{function.__name__}"
        )
    return f"cannot be called with one argument, {argument}"


def _find(module: Any, source: str, name: str) -> Any:
    """Return what a dotted name means in a module."""
    found = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{source} has no function {name!r}") from None
    return found


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
