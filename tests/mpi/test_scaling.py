"""The scaling experiment on real ranks, beside its simulation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

SCRIPT = str(Path(__file__).parents[2] / "experiments" / "ackley_scaling.py")
pytestmark = pytest.mark.slow

SETTINGS = ("--shifted", "--seconds", "6", "--duration", "normal:0.3,0.1", "--output", "results")


def test_real_ranks_beside_simulated_ones(start_job, tmp_path: Path) -> None:
    status, out, err = start_job(3, SCRIPT, "--real", "--seeds", "1", "2", *SETTINGS).end()
    assert status == 0, err
    assert out.count("adbo-real") == 1  # one rank speaks
    real = tmp_path / "results" / "adbo-real_ackley-5_3_2.csv"
    measured = real.stat().st_mtime_ns
    methods = ("--methods", "adbo", "adbo-real", "--workers", "3", "--seeds", "2")
    status, out, err = start_job(1, SCRIPT, *methods, *SETTINGS).end()
    assert status == 0, err
    assert real.stat().st_mtime_ns == measured
    rows = pd.concat([pd.read_csv(real), pd.read_csv(real.with_name("adbo_ackley-5_3_2.csv"))])
    assert list(rows["method"]) == ["adbo-real", "adbo"]
    # The same durations on either side; the machine that tests run on decides what is lost.
    assert rows["attainable"].nunique() == 1
    assert (rows["utilization"] <= rows["attainable"] + 0.02).all()
    assert rows["utilization"].iloc[0] > 0.5
    assert rows["evaluations"].min() > 20


def test_other_settings_are_refused_on_every_rank(start_job, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "machine.json").write_text("{}")
    status, _, err = start_job(3, SCRIPT, "--real", *SETTINGS).end()
    assert status == 2
    assert err.count("machine.json") == 1
