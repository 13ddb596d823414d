"""Successive halving that every rank decides by itself, on real ranks and groups of ranks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from optuna.trial import FrozenTrial
from studies import check_sound, load, wait_for_trials

from adbo.core.rungs import LATEST

OBJECTIVE = """
import time
import optuna

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    for step in range(9):
        time.sleep(0.01)
        trial.report(x * x + 1 / (1 + step), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x * x

def together(trial):
    x = trial.suggest_float("x", -5, 5)
    for step in range(9):
        value = trial.comm.bcast(x * x + 1 / (1 + step))
        if trial.comm.rank == 0:
            trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
        trial.comm.barrier()  # hangs unless all ranks of the group decide alike
    if trial.number % 5 == 3 and trial.comm.rank == 1:
        assert not trial.should_prune()  # the leader does not ask
    return x * x
"""


class Decision(NamedTuple):
    """What a rank decided at a rung."""

    rank: int
    reported: float
    """Seconds since the epoch."""
    before: float
    """When it was decided at the latest."""
    value: float
    n_known: int
    n_better: int
    goes_on: bool


def decisions_of(trials: Sequence[FrozenTrial]) -> dict[int, list[Decision]]:
    """Return the stored decisions at each rung, in the order of the reports."""
    found: dict[int, list[Decision]] = {}
    for trial in trials:
        values = list(trial.intermediate_values.values())
        entries = trial.system_attrs["adbo:rungs"]
        assert [entry[0] for entry in entries] == [n for n in (1, 3, 9) if n <= len(values)]
        assert all(entry[-1] for entry in entries[:-1])
        assert (trial.state.name == "PRUNED") == (not entries[-1][-1])
        started = trial.datetime_start.timestamp()
        moments = [started + entry[1] for entry in entries]
        for moment, before, (n_reports, _, *numbers) in zip(
            moments, [*moments[1:], trial.datetime_complete.timestamp()], entries, strict=True
        ):
            value, rank = values[n_reports - 1], trial.user_attrs["adbo:rank"]
            found.setdefault(n_reports, []).append(Decision(rank, moment, before, value, *numbers))
    return {rung: sorted(decisions, key=lambda d: d.reported) for rung, decisions in found.items()}


def check_decisions(trials: Sequence[FrozenTrial], n_ranks: int) -> None:
    """Check that each decision follows from the stored reports that its rank may have known.

    These are all earlier ones of its own, and of each peer the first ones up to some number.
    """
    complete = [t.datetime_complete.timestamp() for t in trials if t.state.name == "COMPLETE"]
    for decisions in decisions_of(trials).values():
        for made in decisions:
            if made.before < min(complete):
                assert made.goes_on
            elif not made.goes_on or min(complete) + 1 < made.reported:
                assert made.goes_on == (made.n_better < max(1, made.n_known // 3))
            if made.n_known == LATEST:
                check_latest(decisions, made, n_ranks)
                continue
            streams = [[d for d in decisions if d.rank == rank] for rank in range(n_ranks)]
            own = [d.value for d in streams[made.rank] if d.reported <= made.reported]
            peers = [
                [d.value for d in stream if d.reported < made.before + 0.002]
                for rank, stream in enumerate(streams)
                if rank != made.rank
            ]
            counts = [
                [(n, sum(value < made.value for value in peer[:n])) for n in range(len(peer) + 1)]
                for peer in peers
            ]
            n_own_better = sum(value < made.value for value in own)
            wanted = (made.n_known - len(own), made.n_better - n_own_better)
            assert any(
                tuple(map(sum, zip(*known, strict=True))) == wanted
                for known in itertools.product(*counts)
            )


def check_latest(decisions: Sequence[Decision], made: Decision, n_ranks: int) -> None:
    """Check a decision among the latest, whose order a rank knows but for those under way."""
    known = [d.value < made.value for d in decisions if d.reported < made.before + 0.002]
    slack = 3 * n_ranks
    surely, perhaps = known[slack - LATEST : -slack], known[-LATEST - slack :]
    assert sum(surely) <= made.n_better <= sum(perhaps)


def test_every_rank_decides_on_what_it_knows(adbo, launcher, tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text(OBJECTIVE)
    arguments = ["run", "training.py:objective", "--trials", "160", "--study-name", "p"]
    status, _, err = adbo(4, *arguments, launcher=launcher)
    assert status == 0, err
    trials = check_sound(load(tmp_path, "p"))
    states = [t.state.name for t in trials]
    assert states.count("PRUNED") > 20
    assert states.count("COMPLETE") + states.count("PRUNED") == len(trials)
    check_decisions(trials, 4)
    first = decisions_of(trials)[1]
    # Most decisions know all earlier reports, but for those of the other ranks under way.
    n_known = [made.n_known for made in first]
    assert sum(n >= min(i - 3, LATEST) for i, n in enumerate(n_known)) > len(first) / 2
    assert max(n_known) == LATEST


@pytest.mark.slow
def test_a_killed_study_keeps_its_rungs(adbo, start_job, tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text(OBJECTIVE)
    arguments = ["run", "training.py:objective", "--study-name", "k", "--resume"]
    job = start_job(2, "-m", "adbo", *arguments, "--timeout", "300")
    wait_for_trials(tmp_path, "k", 20)
    job.kill()
    before = len(load(tmp_path, "k").trials)
    status, _, err = adbo(2, *arguments, "--trials", str(before + 20))
    assert status == 0, err
    trials = load(tmp_path, "k").trials
    assert len(trials) >= before + 20
    known = [trial.system_attrs["adbo:rungs"][0][2] for trial in trials[before:]]
    assert min(known) >= min(before + 1, LATEST)
    assert any(trial.state.name == "PRUNED" for trial in trials[before:])


def test_the_example(adbo, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "pruning.py"
    arguments = ["run", f"{example}:objective", "--direction", "maximize", "--trials", "24"]
    status, out, err = adbo(2, *arguments, "--study-name", "e", "--seed", "1", "--isolate")
    assert status == 0, err
    trials = check_sound(load(tmp_path, "e"))
    assert " pruned, 0 failed)" in out
    assert sum(t.state.name == "PRUNED" for t in trials) > 6
    assert max(t.value for t in trials if t.state.name == "COMPLETE") > 0.9
    assert all(len(t.intermediate_values) in (1, 3, 9, 27) for t in trials)


@pytest.mark.slow
def test_a_group_decides_alike(adbo, launcher, tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text(OBJECTIVE)
    arguments = ["run", "training.py:together", "--trials", "40", "--study-name", "g"]
    status, _, err = adbo(4, *arguments, "--ranks-per-trial", "2", launcher=launcher)
    assert status == 0, err
    trials = check_sound(load(tmp_path, "g"))
    states = [t.state.name for t in trials]
    assert states.count("PRUNED") > 10
    assert states.count("FAIL") == 0
    check_decisions(trials, 2)
