"""The experiments run, say what they found, and do not repeat what is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


def _run(cwd: Path, script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "experiments" / script), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "file"),
    [
        (
            "ask_cost.py",
            ["--methods", "adbo", "tpe", "--dimensions", "3", "--sizes", "200", "--rounds", "3"],
            "ask_cost.csv",
        ),
        (
            "quality.py",
            ["--problems", "sphere:2", "--seeds", "1", "--workers", "4", "--evaluations", "80"],
            "quality.csv",
        ),
    ],
)
def test_tables(tmp_path: Path, script: str, arguments: list[str], file: str) -> None:
    first = _run(tmp_path, script, *arguments)
    rows = pd.read_csv(tmp_path / file)
    assert {"adbo", "tpe"} <= set(rows["method"])
    assert (rows.iloc[:, -1].dropna() > 0).all()
    written = (tmp_path / file).read_bytes()
    assert _run(tmp_path, script, *arguments) == first
    assert (tmp_path / file).read_bytes() == written


def test_scaling(tmp_path: Path) -> None:
    arguments = ["--workers", "4", "8", "--seeds", "1", "--seconds", "400", "--output", "results"]
    out = _run(tmp_path, "ackley_scaling.py", *arguments)
    assert "utilization" in out
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*.csv")}
    assert len(files) >= 2
    assert len(list((tmp_path / "results").glob("*.png"))) >= 2
    # Another size is added; the others are not simulated again.
    _run(tmp_path, "ackley_scaling.py", *arguments, "--workers", "4", "8", "2")
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*.csv")}
    assert len(again) > len(files)
    assert files.items() <= again.items()


def test_storage_throughput(tmp_path: Path) -> None:
    arguments = ["--url", "sqlite:///s.db", "--sizes", "50", "200", "--processes", "1", "2"]
    few = ["--evaluations", "300", "--sustained", "0.2", "--seconds", "0.2", "--output", "o"]
    out = _run(tmp_path, "storage_throughput.py", *arguments, *few)
    rows = pd.read_csv(tmp_path / "o" / "storage_throughput.csv")
    ways = {"adbo", "RUNNING first", "add_trials", "optimize 2", "proxy 2", "seconds to resume"}
    for size in (50, 200):
        assert ways <= set(rows["way"][rows["trials"] == size])
    assert ways <= set(out.replace(" (", "\n").replace("  ", "\n").split("\n"))
    assert (rows["figure"] > 0).all()
    rate = rows[rows["trials"] == 50].set_index("way")["figure"]
    assert f"({rate['adbo'] / rate['add_trials']:.0f}x)" in out
    assert (tmp_path / "o" / "storage_throughput.png").exists()
