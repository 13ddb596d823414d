"""Evaluations that the database never took are in a file, from which the next run reads them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import optuna
import pytest
from faults import of_unknown_revision
from servers import PASSWORD, Server

from adbo.comm.in_process import SingleRank
from adbo.core.settings import Settings
from adbo.mirror.settings import DEFAULTS, ConnectionSettings, MirrorSettings
from adbo.run.execute import Outcome, execute


class _Lines:
    """A reporter that remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, progress: object) -> None: ...

    def say(self, text: str) -> None:
        self.lines.append(text)

    def end(self) -> None: ...


#: A run gives up a database after half a second.
IMPATIENT = MirrorSettings(patience=0.5, connection=ConnectionSettings(busy_seconds=0.1))


def _run(objective, mirror_settings=IMPATIENT, **settings) -> tuple[Outcome, list[str]]:
    """Return the outcome of a run and the lines for the user."""
    reporter = _Lines()
    outcome = execute(objective, Settings(**settings), SingleRank(), reporter, mirror_settings)
    return outcome, reporter.lines


def _square(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_float("x", -5, 5) ** 2


@pytest.fixture(autouse=True)
def _own_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def _locked(path: Path) -> sqlite3.Connection:
    """Lock a database against all other connections."""
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def test_a_file_that_is_locked_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "data" / "s.db"
    path.parent.mkdir()
    settings = {"storage": f"sqlite:///{path}", "study_name": "s"}
    _run(_square, n_trials=5, **settings)
    lock: sqlite3.Connection | None = None

    def objective(trial: optuna.trial.BaseTrial) -> float:
        nonlocal lock
        lock = lock or _locked(path)
        trial.study.set_user_attr("note", "kept")
        return _square(trial)

    outcome, lines = _run(objective, n_trials=12, resume=True, **settings)
    assert outcome.n_unwritten == 7
    assert lock is not None
    lock.close()
    (rescued,) = path.parent.glob("*.rescued.jsonl")
    assert f"they are in {rescued}: --resume reads them from there" in lines[-1]
    assert sum("does not take evaluations" in line for line in lines) == 1
    header, *evaluations = map(json.loads, rescued.read_text().splitlines())
    assert len(evaluations) == 7
    points = [e["params"] for e in evaluations]

    again, lines = _run(_square, n_trials=14, resume=True, **settings)
    assert f"7 evaluations that the database had not taken are from {rescued}" in lines
    assert again.n_unwritten == 0
    assert not rescued.exists()
    trials = optuna.load_study(study_name="s", storage=settings["storage"]).get_trials()
    assert [t.number for t in trials] == list(range(14))
    assert [t.params for t in trials[5:12]] == points
    assert header["study"] == "s"
    study = optuna.load_study(study_name="s", storage=settings["storage"])
    assert study.user_attrs == {"note": "kept"}


def test_a_server_that_is_gone(server: Server, tmp_path: Path) -> None:
    """Neither the messages nor the file contain the password."""
    settings = {"storage": server.new_database(), "study_name": "s"}
    n_evaluations = 0

    def objective(trial: optuna.trial.BaseTrial) -> float:
        nonlocal n_evaluations
        n_evaluations += 1
        if n_evaluations == 4:
            server.kill()
        return _square(trial)

    try:
        outcome, lines = _run(objective, n_trials=8, **settings)
    finally:
        server.start()
    assert outcome.n_unwritten > 0
    (rescued,) = tmp_path.glob("*.rescued.jsonl")
    for text in (*lines, rescued.read_text(), json.dumps(outcome.summary.to_json())):
        assert PASSWORD not in text
    again, _ = _run(_square, n_trials=8, resume=True, **settings)
    assert again.n_unwritten == 0
    assert len(again.history) == 8
    trials = optuna.load_study(study_name="s", storage=settings["storage"]).get_trials()
    assert [t.number for t in trials] == list(range(8))
    assert list(tmp_path.glob("*.rescued.jsonl")) == []


def test_an_evaluation_that_the_database_refuses(tmp_path: Path) -> None:
    """It goes to the file; the others are stored, and so is what is left at the end."""

    def objective(trial: optuna.trial.BaseTrial) -> float:
        if trial.number == 5:
            trial.study.enqueue_trial({"x": 1.5})
        if trial.number == 3:
            trial.suggest_float("\ud800", 0, 1)  # no database can encode this name
        return _square(trial)

    settings = {"storage": f"sqlite:///{tmp_path}/s.db", "study_name": "s"}
    points = [{"x": float(i)} for i in range(7)]
    callbacks = [lambda study, trial: study.set_user_attr("last", trial.number)]
    outcome, lines = _run(objective, n_trials=6, enqueue=points, callbacks=callbacks, **settings)
    assert outcome.n_unwritten == 1
    assert any("refuses an evaluation" in line for line in lines)
    study = optuna.load_study(study_name="s", storage=settings["storage"])
    assert study.user_attrs == {"last": 5}
    states = [t.state.name for t in study.trials]
    assert states == [*["COMPLETE"] * 3, "WAITING", *["COMPLETE"] * 2, *["WAITING"] * 2]
    _, lines = _run(_square, n_trials=6, resume=True, **settings)
    assert any("refuses 1 others, which stay there" in line for line in lines)
    assert len(list(tmp_path.glob("*.rescued.jsonl"))) == 1


def test_an_unknown_version_of_the_tables(url: str) -> None:
    """They are written through Optuna, and a line says so."""
    storage = of_unknown_revision(url)
    settings = {"storage": storage, "study_name": "s", "mirror_settings": DEFAULTS}
    outcome, lines = _run(_square, n_trials=5, **settings)
    assert outcome.n_unwritten == 0
    assert len([line for line in lines if "does not know: it writes trial by trial" in line]) == 1
    outcome, _ = _run(_square, n_trials=8, resume=True, **settings)
    trials = optuna.load_study(study_name="s", storage=storage).get_trials()
    assert [t.number for t in trials] == list(range(8))
    assert len({(t.user_attrs["adbo:rank"], t.user_attrs["adbo:seq"]) for t in trials}) == 8
