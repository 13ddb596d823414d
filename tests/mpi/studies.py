"""Look at mirrored studies, and wait for what happens in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import optuna


def load(path: Path, name: str) -> optuna.Study:
    """Load a study from the default database of a directory."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{path}/adbo.db")


def check_sound(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials; their numbers are dense, their names unique, their times in order."""
    trials = study.get_trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    names = [(t.user_attrs["adbo:rank"], t.user_attrs["adbo:seq"]) for t in trials]
    assert len(set(names)) == len(names)
    assert all(t.datetime_start <= t.datetime_complete for t in trials)
    return trials


def wait_for(is_so: Callable[[], object], what: str) -> None:
    """Look until a condition holds, at most a minute and a half."""
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def wait_for_trials(path: Path, name: str, number: int) -> None:
    """Wait until the mirror has this number of finished trials."""

    def is_so() -> bool:
        if not (path / "adbo.db").exists():
            return False
        try:
            trials = load(path, name).get_trials(deepcopy=False)
        except Exception:  # the tables are being made
            return False
        return sum(t.state.is_finished() for t in trials) >= number

    wait_for(is_so, f"{number} trials")
