"""What the documentation shows works: its Python runs, and its command lines are ones of adbo."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

import adbo
from adbo.cli.parser import make_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / "slurm" / "README.md", ROOT / "examples" / "simulation" / "README.md"]

#: Trials of a run that the documentation shows with more.
N_TRIALS = 5


CALL = ["-m", "adbo"]


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Return the arguments of each call of adbo in the shell blocks of a page."""
    found = []
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
            for start in (
                i + 1 for i, word in enumerate(words) if word == "adbo" and "-m" in words
            ):
                ends = [i for i in range(start, len(words)) if set(words[i]) <= set("&|;<>")]
                end = min(ends, default=len(words))
                redirects = end < len(words) and words[end] == ">" and words[end - 1] == "2"
                found.append(words[start : end - redirects])
    return found


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=names)
def test_python_of_a_page_runs_from_its_first_block_to_its_last(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = adbo.optimize
    monkeypatch.setattr(
        adbo, "optimize", lambda objective, n_trials, **more: run(objective, N_TRIALS, **more)
    )
    # What pages take for given: a study, and a program with its file.
    stored = optuna.create_study(study_name="demo", storage="sqlite:///adbo.db")
    if page.name == "README.md":
        optuna.delete_study(study_name="demo", storage="sqlite:///adbo.db")
    else:
        stored.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=3)
    for block in blocks(page, "toml")[:1]:
        Path("study.toml").write_text(block)
        Path("simulation").write_text("#!/bin/sh\necho 1.5\n")
        Path("simulation").chmod(0o755)
    namespace: dict[str, Any] = {}
    for block in blocks(page, "python"):
        # There is no server.
        namespace["__name__"] = "imported" if "//user@host" in block else "__main__"
        exec(compile(block, names(page), "exec"), namespace)


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=names)
def test_command_lines_are_understood(page: Path) -> None:
    for arguments in commands(page):
        make_parser().parse_args(arguments)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in ("index", "api", "command-line", "benchmarks"):
        assert (tmp_path / f"{page}.html").exists()
    assert "tell_many" in (tmp_path / "api.html").read_text()
    assert "--ranks-per-trial" in (tmp_path / "command-line.html").read_text()
