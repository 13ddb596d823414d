"""Loading the objective that the user named: from a file or a module, or a test function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from adbo.benchmark_functions.problems import parse
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
        function with an optional dimension such as ``ackley:10``.

    Raises
    ------
    UsageError
        If there is no such file, module, function or test function, or importing it fails.
    """
    check_test_function(text)
    if is_test_function(text):
        return parse(text).objective
    if is_study_file(text):
        return load_program(text)
    check_file(text)
    source, _, name = text.rpartition(":")
    module = _import_file(source) if source.endswith(".py") else _import_module(source)
    function = getattr(module, name, None)
    if function is None:
        raise UsageError(f"{source} has no function {name!r}")
    if not callable(function):
        raise UsageError(
            f"{text} is of type {type(function).__name__}: it must be a function of a trial"
        )
    return function


def _import_file(source: str) -> Any:
    path = Path(source)
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
    sys.path.insert(0, "")
    try:
        return importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise UsageError(f"cannot import {source}: {describe_error(error)}") from error
