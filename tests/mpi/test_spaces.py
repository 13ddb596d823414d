"""Ranks whose objectives differ: in the order of choices, which is fine, or in kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import check_sound, load

OBJECTIVES = """
from mpi4py import MPI

WORDS = [str(number) for number in range(12)]

def a_set(trial):
    order = list(set(WORDS))
    word = trial.suggest_categorical("word", order)
    trial.set_user_attr("word", word)
    trial.set_user_attr("order", order)
    return float(word) + trial.suggest_float("x", -1, 1) ** 2

def fewer(trial):
    return float(trial.suggest_categorical("word", list(set(WORDS[:-1]))))

def kinds(trial):
    if MPI.COMM_WORLD.rank % 2:
        return trial.suggest_int("x", 0, 9)
    return trial.suggest_float("x", 0, 9)
"""


@pytest.fixture(autouse=True)
def _objectives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    (tmp_path / "my.py").write_text(OBJECTIVES)


def test_choices_from_a_set(adbo, tmp_path: Path) -> None:
    status, _, err = adbo(4, "run", "my.py:a_set", "--trials", "60", "--study-name", "s")
    assert (status, err) == (0, "")
    trials = check_sound(load(tmp_path, "s"))
    assert len(trials) >= 60
    assert len({tuple(trial.user_attrs["order"]) for trial in trials}) == 4
    assert len({str(trial.distributions["word"]) for trial in trials}) == 1
    assert all(trial.params["word"] == trial.user_attrs["word"] for trial in trials)
    assert min(trial.value for trial in trials) < 2.1  # one of the three best of twelve words

    options = ["--study-name", "s", "--resume", "--trials", str(len(trials) + 20), "--quiet"]
    status, out, err = adbo(4, "run", "my.py:fewer", *options)
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("adbo: parameter 'word': the objective asks for Categorical")
    assert load(tmp_path, "s").get_trials() == trials

    status, _, err = adbo(3, "run", "my.py:a_set", *options)
    assert (status, err) == (0, "")
    resumed = check_sound(load(tmp_path, "s"))
    assert len(resumed) >= len(trials) + 20
    assert len({str(trial.distributions["word"]) for trial in resumed}) == 1
    assert all(trial.params["word"] == trial.user_attrs["word"] for trial in resumed)


def test_kinds_that_differ_between_ranks(adbo, tmp_path: Path) -> None:
    status, out, err = adbo(4, "run", "my.py:kinds", "--trials", "40", "--study-name", "s")
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("adbo: parameter 'x': the objective asks for ")
    assert "IntDistribution" in err
    assert "FloatDistribution" in err
    # What the study got until then has one kind.
    assert len({type(t.distributions["x"]) for t in load(tmp_path, "s").get_trials()}) <= 1
    assert not list(tmp_path.glob("*.jsonl"))
