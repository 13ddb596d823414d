"""The text by which a user names an objective, checked without importing what it names."""

from __future__ import annotations

import os

from adbo.benchmark_functions.names import NAMES, parse_name
from adbo.core.errors import UsageError


def is_test_function(text: str) -> bool:
    """Return whether the text can only name a test function."""
    source = text.rpartition(":")[0]
    return not is_study_file(text) and (not source or source in NAMES)


def is_study_file(text: str) -> bool:
    """Return whether the text names a study file, which describes a program."""
    return text.endswith(".toml")


def check_test_function(text: str) -> None:
    """Raise UsageError if the text can only name a test function, and there is none such."""
    if not is_test_function(text):
        return
    try:
        parse_name(text)
    except ValueError as error:
        if text.partition(":")[0] in NAMES:
            raise UsageError(str(error)) from None
        raise UsageError(
            f"no objective {text!r}: give path/file.py:function, package.module:function,"
            f" path/study.toml or a test function ({', '.join(NAMES)})"
        ) from None


def check_file(text: str) -> None:
    """Raise UsageError if the text names a missing Python file, or a study file that is wrong."""
    if is_study_file(text):
        from adbo.objective.program.study_file import read_study_file  # --help does not need it

        read_study_file(text)
        return
    source = text.rpartition(":")[0]
    if source.endswith(".py") and not os.path.isfile(source):
        raise UsageError(f"no file {source!r}")
