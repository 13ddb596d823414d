"""What the tests ask of a mirrored study."""

from __future__ import annotations

import time
from pathlib import Path

import optuna


def load(path: Path, name: str) -> optuna.Study:
    """A study in the default database of a directory."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{path}/adbo.db")


def check_sound(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Dense numbers, nothing twice, real times."""
    trials = study.get_trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    names = [(t.user_attrs["adbo:rank"], t.user_attrs["adbo:seq"]) for t in trials]
    assert len(set(names)) == len(names)
    assert all(t.datetime_start <= t.datetime_complete for t in trials)
    return trials


def wait_for_trials(path: Path, name: str, number: int) -> None:
    """Until the mirror has so many that are finished."""
    deadline = time.monotonic() + 90
    seen: object = "no database"
    while time.monotonic() < deadline:
        if (path / "adbo.db").exists():
            try:
                trials = load(path, name).get_trials(deepcopy=False)
                seen = sum(t.state.is_finished() for t in trials)
            except Exception as error:  # the tables are being made
                seen = error
            if isinstance(seen, int) and seen >= number:
                return
        time.sleep(0.2)
    raise AssertionError(f"no {number} trials in a minute and a half: {seen}")
