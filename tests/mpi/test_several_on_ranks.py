"""Several objectives and constraints on real ranks."""

from __future__ import annotations

import json
from pathlib import Path

from studies import check_sound, load

OBJECTIVE = """
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    y = trial.suggest_float("y", 0, 1)
    trial.set_constraint("sum", 0.2 - x - y)
    return x + y, (1 - x) ** 2 + y, 1.0 - x
"""


def test_every_rank_works_on_the_front(adbo, tmp_path: Path) -> None:
    (tmp_path / "several.py").write_text(OBJECTIVE)
    directions = 3 * ("--direction", "minimize")
    options = ("--study-name", "s", "--seed", "0", "--json", "s.json", *directions)
    status, _, err = adbo(4, "run", "several.py:objective", *options, "--trials", "40")
    assert status == 0, err
    trials = check_sound(load(tmp_path, "s"))
    assert 40 <= len(trials) < 60
    assert all(len(trial.values) == 3 for trial in trials)
    assert all("sum" in trial.constraints for trial in trials)
    front = load(tmp_path, "s").best_trials
    summary = json.loads((tmp_path / "s.json").read_text())
    assert sorted(point["values"] for point in summary["pareto_front"]) == sorted(
        trial.values for trial in front
    )
    assert summary["n_complete"] == len(trials)
    status, _, err = adbo(2, "run", "several.py:objective", *options, "--trials", "50", "--resume")
    assert status == 0, err
    assert len(check_sound(load(tmp_path, "s"))) >= 50
