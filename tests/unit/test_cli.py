"""The command line in one process. Under a launcher: tests/mpi."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest

import adbo.cli.simulate
from adbo.cli.main import main


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_run_reports_where_the_study_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "sphere:2", "--trials", "12", "--study-name", "s"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("best value:    ")
    assert lines[1].startswith(
        "trials:        12 (12 complete, 0 pruned, 0 failed), 12 of them now "
    )
    assert "study:         s in sqlite:///adbo.db" in lines
    assert err == ""
    assert len(optuna.load_study(study_name="s", storage="sqlite:///adbo.db").trials) == 12


def test_the_help_offers_no_storage_only_where_none_is_needed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command, offers in (("run", True), ("simulate", True), ("report", False)):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert ("any Optuna storage URL, or none (default:" in text) is offers


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "sphere:2", "--trials", "5", "--quiet", "--storage", "none"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_environment_names_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///other.db")
    assert main(["run", "sphere:2", "--trials", "5", "--study-name", "s"]) == 0
    assert len(optuna.load_study(study_name="s", storage="sqlite:///other.db").trials) == 5
    assert not Path("adbo.db").exists()


def test_the_default_name_tells_objective_and_time() -> None:
    Path("my.py").write_text("def f(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    assert main(["run", "my.py:f", "--trials", "3", "--json", "s.json"]) == 0
    summary = json.loads(Path("s.json").read_text())
    assert re.fullmatch(r"my\.f-\d{8}-\d{6}-[0-9a-f]{8}", summary["study_name"])
    assert summary["evaluations_per_rank"] == [3]


def test_resuming_a_complete_study_evaluates_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["run", "sphere:2", "--trials", "8", "--study-name", "s"]
    assert main(options) == 0
    assert main([*options, "--resume"]) == 0
    assert "the study already has its 8 trials" in capsys.readouterr().out
    assert len(optuna.load_study(study_name="s", storage="sqlite:///adbo.db").trials) == 8


@pytest.mark.parametrize("target", ["-1e-3", "-.5", "-1", "0.1"])
def test_a_target_may_be_any_number(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.py").write_text("def f(trial):\n    return trial.suggest_float('x', -9, -1)\n")
    assert main(["run", "my.py:f", "--target", target, "--storage", "none"]) == 0
    assert f"the target {float(target)} was reached" in capsys.readouterr().out


def test_maximize(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.py").write_text("def f(trial):\n    return -trial.suggest_float('x', -3, 5) ** 2\n")
    options = ["--trials", "40", "--direction", "maximize", "--seed", "0", "--json", "s.json"]
    assert main(["run", "my.py:f", *options]) == 0
    assert json.loads(Path("s.json").read_text())["best_value"] > -0.01


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "sphere:2", "--trials", "9", "--study-name", "s", "--json", "run.json"])
    capsys.readouterr()
    assert main(["report", "--json", "report.json"]) == 0
    out, _ = capsys.readouterr()
    assert "s in sqlite:///adbo.db\n" in out
    assert "9 complete, 0 pruned, 0 failed" in out
    run, report = (json.loads(Path(f"{name}.json").read_text()) for name in ("run", "report"))
    for key in ("best_value", "best_params", "n_complete", "n_ranks", "evaluations_per_rank"):
        assert report[key] == run[key]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "ackley", "--trials", "0"], "trials is 0: it must be a positive integer"),
        (["run", "akley"], "no objective 'akley'"),
        (["run", "ackley", "--resume"], "resume needs the name of the study: give --study-name"),
        (["run", "gone.py:f"], "no file 'gone.py'"),
        (["run", "ackley", "--json", "gone/s.json"], "there is no directory gone"),
        (["run", "ackley", "--storage", "oracel://x"], "oracel"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_bad_input(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("adbo: ")
    assert complaint in err
    assert not Path("adbo.db").exists()


def test_only_the_first_rank_complains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PMI_RANK", "3")
    # It must not fail before the first rank has spoken: launchers end a job at a failure.
    assert main(["run", "ackley", "--trials", "0"]) == 0
    assert capsys.readouterr().err == ""


def test_simulate_is_deterministic_with_a_fixed_cost(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["simulate", "sphere:3", "--workers", "8", "--time", "600", "--ask-cost", "0.01"]
    for name in ("a", "b"):
        assert main([*options, "--seed", "3", "--json", f"{name}.json", "--study-name", "s"]) == 0
    first, second = (json.loads(Path(f"{name}.json").read_text()) for name in ("a", "b"))
    assert first == second
    assert first["n_workers"] == 8
    assert first["wall_seconds"] == 600
    assert sum(first["evaluations_per_rank"]) == first["n_complete"] > 40
    assert "8 virtual workers in 600 virtual seconds by adbo" in capsys.readouterr().out


def test_a_simulation_can_be_stored() -> None:
    storage = ["--storage", "sqlite:///sim.db", "--study-name", "s"]
    assert main(["simulate", "sphere:2", "--workers", "4", "--trials", "20", *storage]) == 0
    trials = optuna.load_study(study_name="s", storage="sqlite:///sim.db").trials
    assert len(trials) == 20
    assert {t.user_attrs["adbo:rank"] for t in trials} == set(range(4))


def test_a_simulation_in_which_nothing_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.py").write_text("def objective(trial):\n    raise ValueError('no licence')\n")
    assert main(["simulate", "bad.py:objective", "--workers", "2", "--trials", "4"]) == 1
    assert capsys.readouterr().err == "adbo: no evaluation succeeded (ValueError: no licence)\n"


@pytest.mark.parametrize(
    ("statement", "status", "complaint"),
    [
        ("raise KeyboardInterrupt", 130, "interrupted while storing"),
        ("sqlite3.connect('sim.db').execute('DROP TABLE trials')", 1, "trials"),
    ],
)
def test_what_could_not_be_stored_is_in_the_summary(
    statement: str,
    status: int,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interfering(*arguments: Any) -> None:
        exec(statement, {"sqlite3": sqlite3})
        store(*arguments)

    store = adbo.cli.simulate.store
    monkeypatch.setattr(adbo.cli.simulate, "store", interfering)
    options = ["--workers", "4", "--trials", "20", "--storage", "sqlite:///sim.db"]
    assert main(["simulate", "sphere:2", *options, "--json", "s.json"]) == status
    out, err = capsys.readouterr()
    assert "20 evaluations" in out
    assert complaint in err
    assert len(err.splitlines()) == 1
    assert json.loads(Path("s.json").read_text())["n_complete"] == 20


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "the following arguments are required: --workers"),
        (["--workers", "1", "--trials", "9", "--method", "acbo-rf"], "it must be at least 2"),
        (["--workers", "4"], "needs an end"),
        (["--workers", "4", "--trials", "9", "--method", "x"], "it must be one of adbo, "),
        (["--workers", "4", "--trials", "9", "--duration", "x"], "x"),
    ],
)
def test_bad_simulations(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "ackley", *options]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert not list(Path().iterdir())
