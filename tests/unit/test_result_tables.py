"""Raw results are condensed into small tables, and the tables in the repository are complete."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_a_table_has_median_range_seeds_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    tables = importlib.import_module("tables")
    (tmp_path / "raw" / "quality").mkdir(parents=True)
    rows = [("v1", "adbo", "ackley:5", 4, 60, seed, 10.0 + seed) for seed in (3, 1, 2)]
    columns = ["version", "method", "problem", "workers", "evaluations", "seed", "regret"]
    raw = pd.DataFrame(rows, columns=columns)
    raw.to_csv(tmp_path / "raw" / "quality" / "quality.csv", index=False)
    folders = ["--raw", str(tmp_path / "raw"), "--output", str(tmp_path / "results")]
    assert tables.main(["quality", *folders]) == 0
    (row,) = pd.read_csv(tmp_path / "results" / "quality.csv").to_dict("records")
    assert (row["median"], row["low"], row["high"], row["runs"]) == (12, 11, 13, 3)
    assert (row["seeds"], row["version"]) == ("1 2 3", "v1")


def test_results_of_another_method_version_are_not_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    rows = importlib.import_module("rows")
    path = tmp_path / "adbo.csv"
    part = rows.Part("cases", "ackley:5", "adbo", 4, 60, 1)
    rows.append(path, "v1", part, np.linspace(9, 0.5, 60), seconds=2)
    assert list(rows.parts_of(rows.load(path, "v1"))) == [part]
    (row,) = rows.load(path).to_dict("records")
    assert row["regret"] == 0.5
    assert 0.5 < row["regret_50"] < 9
    with pytest.raises(SystemExit, match="v1"):
        rows.load(path, "v2")


def test_the_results_in_the_repository_are_small_and_name_their_version() -> None:
    paths = list((EXPERIMENTS / "results").rglob("*"))
    assert sum(path.stat().st_size for path in paths if path.is_file()) < 2e6
    assert all(path.parent.name == "results" for path in paths)
    for path in paths:
        if path.suffix == ".csv":
            assert pd.read_csv(path)["version"].notna().all(), path


def test_every_table_in_the_repository_has_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    tables = importlib.import_module("tables")
    names = {path.stem for path in (EXPERIMENTS / "results").glob("*.csv")}
    assert names <= tables.TABLES.keys() | tables.APPENDED.keys()
    assert all((EXPERIMENTS / script).exists() for script in tables.APPENDED.values())


def test_the_picture_of_the_readme_is_that_of_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS)
    picture = importlib.import_module("bbob_picture")
    table = pd.read_csv(EXPERIMENTS / "results" / "bbob.csv", dtype={"version": str})
    picture.draw(table, tmp_path / "bbob.svg")
    drawn = (tmp_path / "bbob.svg").read_text()
    kept = (EXPERIMENTS / "results" / "bbob.svg").read_text()
    assert "(experiments/results/bbob.svg)" in (EXPERIMENTS.parent / "README.md").read_text()
    assert all(f">{label}</text>" in drawn for label, _ in picture.METHODS.values())
    assert _curves(kept) == _curves(drawn)
    assert len(kept) < 30_000


def _curves(svg: str) -> set[str]:
    """Return what a picture says of its data: the versions, and the texts."""
    return set(re.findall(r"<dc:source>(.*?)<", svg)) | set(re.findall(r">([^<\n]+)</text>", svg))
