"""What importing adbo needs and does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

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


def test_all_that_is_imported_is_a_dependency() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + project["optional-dependencies"]["report"]
    known = {re.split(r"\W", line.replace("scikit-learn", "sklearn"))[0] for line in required}
    imported = set()
    for path in (root / "adbo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names - {"adbo"} <= known
