"""Wrong usage: one line on standard error, status 2, and nothing is evaluated."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from adbo.cli.main import main

LONG = "a" * 300  # no file can have this name

BAD_INPUT = {
    "no such option": ["run", "ackley", "--trails", "5"],
    "no such command": ["walk"],
    "trials no number": ["run", "ackley", "--trials", "many"],
    "no trials": ["run", "ackley", "--trials", "0"],
    "negative timeout": ["run", "ackley", "--timeout", "-1"],
    "bad kappa": ["run", "ackley", "--kappa", "nan"],
    "bad seed": ["run", "ackley", "--seed", "-3"],
    "bad direction": ["run", "ackley", "--direction", "down"],
    "target no number": ["run", "ackley", "--target", "nan"],
    "infinite target": ["run", "ackley", "--target=-inf"],
    "no patience": ["run", "ackley", "--patience", "0"],
    "no failures": ["run", "ackley", "--max-failures", "-1e3"],
    "no such pruner": ["run", "ackley", "--pruner", "median"],
    "bad reduction factor": ["run", "ackley", "--reduction-factor", "1"],
    "bad min resource": ["run", "ackley", "--min-resource", "0"],
    "empty command": ["run", "ackley", "--on-exit", ""],
    "no file of points": ["run", "ackley", "--enqueue", "nowhere.csv"],
    "wrong file of points": ["run", "ackley", "--enqueue", "bad.csv"],
    "file without points": ["run", "ackley", "--enqueue", "list.json"],
    "no file name": ["run", ":objective"],
    "no storage": ["run", "ackley", "--storage", ""],
    "name that is no text": ["run", "ackley", "--study-name", "\udcff"],
    "full disk": ["report", "--study-name", "exists", "--csv", "/dev/full"],
    "one file for two": ["report", "--csv", "a", "--html", "a"],
    "program of two objectives": [
        "run", "program.toml", "--direction", "minimize", "--direction", "minimize",
    ],
    "no name of a variable": ["run", "variable.toml"],
    "simulated study exists": [
        "simulate", "ackley", "--workers", "2", "--trials", "4", "--study-name", "exists",
        "--storage", "sqlite:///adbo.db",
    ],
    "unwritable table": ["report", "--csv", "no/dir/trials.csv"],
    "no such problem": ["run", "akley"],
    "bad dimension": ["run", "ackley:0"],
    "no such file": ["run", "nowhere.py:objective"],
    "no such function": ["run", "bad.py:missing"],
    "not callable": ["run", "bad.py:number"],
    "import error": ["run", "broken.py:objective"],
    "syntax error": ["run", "syntax.py:objective"],
    "no such module": ["run", "no.such.module:objective"],
    "no such directory of the database": ["run", "ackley", "--storage", "sqlite:////no/dir/a.db"],
    "no such kind of database": ["run", "ackley", "--storage", "oracel://x"],
    "no database server": ["run", "ackley", "--storage", "postgresql://u:secret@127.0.0.1:1/d"],
    "database in memory": ["run", "ackley", "--storage", "sqlite:///:memory:"],
    "not a database": ["run", "ackley", "--storage", "sqlite:///bad.py"],
    "unwritable summary": ["run", "ackley", "--json", "no/dir/summary.json"],
    "long name of a file": ["run", f"{LONG}.py:objective"],
    "long name of a summary": ["run", "ackley", "--json", LONG],
    "long name of a database": ["report", "--storage", f"sqlite:///{LONG}.db"],
    "long name of its directory": ["run", "ackley", "--storage", f"sqlite:///{LONG}/a.db"],
    "existing study": ["run", "ackley", "--study-name", "exists"],
    "other direction": [
        "run", "ackley", "--study-name", "exists", "--resume", "--direction", "maximize",
    ],
    "report of nothing": ["report", "--study-name", "missing"],
}  # fmt: skip


@pytest.mark.parametrize("arguments", BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "bad.py").write_text("number = 3\n")
    (tmp_path / "bad.csv").write_text("x0,x0\n")
    (tmp_path / "list.json").write_text("[1, 2]\n")
    program = 'command = "true {x}"\nparameters.x = {kind = "float", low = 0, high = 1}\n'
    (tmp_path / "program.toml").write_text(program)
    (tmp_path / "variable.toml").write_text(f'{program}environment."A=B" = "1"\n')
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "syntax.py").write_text("def objective(trial:\n")
    storage = f"sqlite:///{tmp_path}/adbo.db"
    study = optuna.create_study(study_name="exists", storage=storage)
    capfd.readouterr()  # Optuna reports the new study
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("adbo: ")
    assert "Traceback" not in err
    assert "secret" not in err
    assert optuna.get_all_study_names(storage) == ["exists"]
    assert len(study.trials) == 0
