"""What importing adbo needs and does."""

from __future__ import annotations

import subprocess
import sys

import pytest

import adbo


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )


def test_no_mpi_is_imported_by_one_process() -> None:
    code = """
import sys
sys.modules["mpi4py"] = None  # any import of it raises ImportError
import adbo
study = adbo.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5, storage=None)
print(len(study.trials))
"""
    result = _python(code)
    assert result.stdout == "5\n", result.stderr


def test_importing_adbo_imports_nothing_heavy() -> None:
    code = "import sys, adbo; print(sorted({'numpy', 'sklearn', 'optuna'} & set(sys.modules)))"
    assert _python(code).stdout == "[]\n"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        adbo.no_such_thing  # noqa: B018


@pytest.mark.parametrize("name", adbo.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(adbo, name).__name__ == name
