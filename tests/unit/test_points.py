"""Points from files, and the trials of a study as a file of points."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

import adbo
from adbo.cli.main import main
from adbo.cli.points import read_points
from adbo.core.cells import cell_of, meant_choice, value_of
from adbo.core.errors import UsageError
from adbo.mirror.study import table_of
from adbo.mirror.trial_table import table_from_storage
from adbo.report.table import write_table

#: Texts with lone surrogates, too, as in the decoded name of a file that is not UTF-8.
TEXTS = st.text() | st.binary().map(os.fsdecode)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)


@given(VALUES)
def test_a_cell_is_read_as_what_was_written(value: Any) -> None:
    cell = cell_of(value)
    again = value_of(cell)
    assert cell
    assert (type(again), again) == (type(value), value)


@given(st.lists(VALUES, min_size=1, max_size=4))
@example(["10%\r20%"])
def test_a_csv_file_keeps_all_values(tmp_path_factory: Any, values: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "points.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")  # as `write_table` does
        writer.writerow([f"p{i}" for i in range(len(values))])
        writer.writerow(map(cell_of, values))
    (point,) = read_points(path)
    assert [(type(v), v) for v in point.values()] == [(type(v), v) for v in values]


@pytest.mark.parametrize(
    ("value", "choices", "meant"),
    [
        (1, ("1", "2"), "1"),
        (True, ("true", "false"), "true"),
        ("True", (True, False), True),
        ("None", (None, "a"), None),
        (1e5, ("1e5", "x"), "1e5"),
        (1, ("1", True), "1"),
        (1, (1.0, "1"), 1),
        (1, ("1", "1.0"), "1"),
        ("a", ("a", "b"), "a"),
        (7, ("a", "b"), 7),
        (2, (True, "1"), 2),
    ],
)
def test_a_value_means_the_choice_of_its_text(value: Any, choices: Any, meant: Any) -> None:
    found = meant_choice(value, choices)
    assert (type(found), found) == (type(meant), meant)


CSV = '\ufeffx, kind ,n\r\n1.5,"a, b",3\r\n,true,\r\n\r\n , ,\r\n2,null,"1"\r\n'


def test_csv() -> None:
    Path("points.csv").write_text(CSV, newline="")
    points = read_points(Path("points.csv"))
    assert points == [
        {"x": 1.5, "kind": "a, b", "n": 3},
        {"kind": True},
        {"x": 2, "kind": None, "n": 1},
    ]


def test_json_lines() -> None:
    Path("points.jsonl").write_text('{"x": 1.5, "kind": "1"}\n\n{"kind": null}\n')
    assert read_points(Path("points.jsonl")) == [{"x": 1.5, "kind": "1"}, {"kind": None}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p is empty: it must have a point on each line"),
        (" \n\n", "p is empty: it must have a point on each line"),
        ("x,y\n1\n", "p, line 2: it has 1 cells: it must have 2, as the header"),
        ("x,y\n1,2\n\n1,2,3\n", "p, line 4: it has 3 cells: it must have 2, as the header"),
        ("x,x\n1,2\n", "p, line 1: there are several columns 'x'"),
        ("x,\n1,2\n", "p, line 1: a column has no name: it must be that of a parameter"),
        ("x;y\n1;2\n", "p, line 1: the names of the parameters must be separated by commas"),
        ('x\n"1\n', "p, line 2: it is not CSV (unexpected end of data)"),
        ("x\n[1]\n", "p, line 2: x is [1]: it must be a number, a boolean, a string or null"),
        ('{"x": 1}\n{"x": }\n', "p, line 2: it is not JSON (Expecting value"),
        ('{"x": 1}\n3\n', "p, line 2: it must be a JSON object, parameter names to values"),
        ('{"x": {}}\n', "p, line 1: x is {}: it must be a number, a boolean, a string or null"),
        (b"\xff\xfe\x00", "cannot read p: it is not UTF-8 text"),
        (None, "cannot read p: No such file or directory"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    text: str | bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path("p").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError) as caught:
        read_points(Path("p"))
    assert message in str(caught.value)
    assert main(["run", "sphere:2", "--enqueue", "p", "--trials", "3"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("adbo.db").exists()


OBJECTIVE = """
def f(trial):
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["1", "2", True, None])
    if x > 4.5 or trial.number == 9:
        raise ValueError("no mesh")
    trial.set_user_attr("note", f"x, {kind}")
    return x * x
"""


def _run(*options: str) -> list[optuna.trial.FrozenTrial]:
    Path("f.py").write_text(OBJECTIVE)
    assert main(["run", "f.py:f", "--resume", "--seed", "0", "--quiet", *options]) == 0
    study = optuna.load_study(study_name=options[1], storage="sqlite:///adbo.db")
    return study.get_trials(deepcopy=False)


def test_points_are_evaluated_first_and_once() -> None:
    Path("p.csv").write_text("x,kind,absent\n1.5,1,7\n,true,\n2,,\n1.5,1,7\n")
    options = ["--study-name", "s", "--enqueue", "p.csv", "--trials"]
    trials = _run(*options, "8")
    assert trials[0].params == {"x": 1.5, "kind": "1"}
    assert trials[1].params["kind"] is True
    assert trials[2].params["x"] == 2.0
    assert [t.params["x"] for t in trials].count(1.5) == 1
    again = _run(*options, "12")
    assert [t.params for t in again[:8]] == [t.params for t in trials]
    assert [t.params["x"] for t in again].count(1.5) == 1
    Path("p.csv").write_text("x,kind\n2.5,2\n1.5,1\n")
    assert [t.params["x"] for t in _run(*options, "14")[12:]].count(2.5) == 1


def test_points_without_a_storage() -> None:
    seen: list[dict[str, Any]] = []

    def objective(trial: optuna.trial.BaseTrial) -> float:
        value = trial.suggest_float("x", -5, 5) + trial.suggest_int("n", 1, 3)
        seen.append(trial.params)
        return value

    points = [{"x": 1.0, "n": 2}, {"x": 2.0}, {"x": 1.0, "n": 2}]
    adbo.optimize(objective, 6, storage=None, enqueue=points)
    assert seen[0] == {"x": 1.0, "n": 2}
    assert seen[1]["x"] == 2.0
    assert seen[2]["x"] not in (1.0, 2.0)


def test_the_csv_of_a_study_is_the_start_of_another() -> None:
    first = _run("--study-name", "a", "--trials", "20")
    assert main(["report", "--study-name", "a", "--csv", "a.csv"]) == 0
    second = _run("--study-name", "b", "--enqueue", "a.csv", "--trials", "20")
    assert [t.params for t in second] == [t.params for t in first]
    assert [t.value for t in second] == [t.value for t in first]


def test_the_table_has_what_optuna_has(capsys: pytest.CaptureFixture[str]) -> None:
    trials = _run("--study-name", "a", "--trials", "25")
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.FAIL}
    capsys.readouterr()
    assert main(["report", "--csv", "-"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = list(csv.DictReader(io.StringIO(out)))
    study = optuna.load_study(study_name="a", storage="sqlite:///adbo.db")
    named = {"user_attrs_adbo:rank", "user_attrs_adbo:seq", "user_attrs_adbo:strategy"}
    columns = set(study.trials_dataframe().columns) - named | {"rank", "job", "seq", "strategy"}
    assert rows[0].keys() == columns
    for row, trial in zip(rows, trials, strict=True):
        assert int(row["number"]) == trial.number
        assert row["state"] == trial.state.name
        assert (float(row["value"]) if row["value"] else None) == trial.value
        assert row["datetime_start"] == str(trial.datetime_start)
        assert float(row["duration"]) == trial.duration.total_seconds()
        assert (row["rank"], row["job"]) == ("0", "0")
        assert int(row["seq"]) == trial.user_attrs["adbo:seq"]
        assert row["strategy"] == trial.user_attrs.get("adbo:strategy", "")
        assert float(row["params_x"]) == trial.params["x"]
        assert row["user_attrs_note"] == trial.user_attrs.get("note", "")
    frame = pd.read_csv(io.StringIO(out))
    assert frame["params_x"].tolist() == pytest.approx([t.params["x"] for t in trials])


def test_all_storages_give_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting and running trials, infinities, several values, and more trials than a page."""
    monkeypatch.setattr("adbo.mirror.trial_table._PAGE", 3)
    study = optuna.create_study(storage="sqlite:///s.db", directions=["minimize", "maximize"])
    study.enqueue_trial({"x": 1})
    running = study.ask()
    running.suggest_float("x", 0, 2)
    running.set_user_attr("z", [1, {"a": None}])
    study.enqueue_trial({"x": 2})
    distribution = {"y": optuna.distributions.CategoricalDistribution((None, "1", 1, 0.1))}
    for y in (None, "1", 1, 0.1):
        study.add_trial(
            create_trial(values=[math.inf, 0.1], params={"y": y}, distributions=distribution)
        )
    study.add_trial(create_trial(state=TrialState.FAIL))
    texts = []
    for table in (table_of(study), table_from_storage(study)):
        file = io.StringIO()
        write_table(file, table)
        texts.append(file.getvalue())
    assert texts[0] == texts[1]
    rows = list(csv.DictReader(io.StringIO(texts[0])))
    assert [row["number"] for row in rows] == list("0123456")
    assert [row["params_y"] for row in rows[2:6]] == ["null", '"1"', "1", "0.1"]
    assert (rows[2]["values_0"], rows[2]["values_1"]) == ("inf", "0.1")
    assert json.loads(rows[0]["user_attrs_z"]) == [1, {"a": None}]
    assert rows[1]["datetime_start"] == rows[1]["duration"] == rows[6]["rank"] == ""


def test_a_study_with_several_objectives_is_reported_with_its_front(capsys) -> None:
    study = optuna.create_study(
        study_name="s", storage="sqlite:///adbo.db", directions=["minimize", "maximize"]
    )
    study.add_trial(create_trial(values=[1.0, 2.0]))
    study.add_trial(create_trial(values=[2.0, 1.0]))
    assert main(["report", "--csv", "s.csv"]) == 0
    assert len(Path("s.csv").read_text().splitlines()) == 3
    assert "1 point, hypervolume 1 from the reference point (2, 1)" in (capsys.readouterr().out)


def test_a_reader_may_end_early() -> None:
    study = optuna.create_study(study_name="a", storage="sqlite:///adbo.db")
    study.add_trial(create_trial(value=1.0, user_attrs={"long": 300_000 * "x"}))
    command = f"{sys.executable} -m adbo report --csv - | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("number,sta", "")
