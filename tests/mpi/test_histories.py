"""Every record reaches every rank, and no rank waits for another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shared import few_more

PROGRAM = str(Path(__file__).parent / "programs" / "histories.py")


def _read(path: Path, name: str, ranks: int) -> list[dict]:
    return [json.loads((path / f"{name}-{rank}.json").read_text()) for rank in range(ranks)]


@pytest.mark.parametrize(
    "ranks",
    [pytest.param(2, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)],
)
def test_every_rank_ends_with_every_record(
    start_job, launcher, tmp_path: Path, ranks: int
) -> None:
    status, _, err = start_job(ranks, PROGRAM, "100", "-1", "1", launcher=launcher).end()
    assert status == 0, err
    histories = _read(tmp_path, "history", ranks)
    # Evaluations that were running are added, more of them where ranks share a core.
    assert len(histories[0]) in few_more(100, ranks)
    for history in histories[1:]:
        assert history == histories[0]
    late = [name for name, e in histories[0].items() if "late" in e[2]]
    assert late
    assert all(name.startswith("1:") for name in late)


def test_a_communicator_is_freed_after_use(start_job, launcher, tmp_path: Path) -> None:
    """And a storage that is closed can be read."""
    (tmp_path / "twice.py").write_text(
        """
import optuna

import adbo
from adbo.comm.mpi import MpiMail

mails = []
class Remembered(MpiMail):
    def __init__(self, comm):
        super().__init__(comm)
        mails.append(self)

adbo.comm.mpi.MpiMail = Remembered
for seed in range(2):
    adbo.optimize(lambda trial: trial.suggest_float("x", -1, 1), 4, storage=None, seed=seed)
with adbo.storage() as storage:
    study = optuna.create_study(storage=storage, study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), 2)
assert len(study.trials) == 4
assert [bool(mail._comm) for mail in mails] == [False] * 3
"""
    )
    status, _, err = start_job(2, "twice.py", launcher=launcher).end()
    assert status == 0, err


@pytest.mark.slow
def test_many_more_ranks_than_cores_end_together(start_job, tmp_path: Path) -> None:
    """Some ranks end while others have hardly been heard, and still answer them all."""
    ranks = 24
    status, _, err = start_job(ranks, PROGRAM, "120", "5", "50").end()
    assert status == 0, err
    histories = _read(tmp_path, "history", ranks)
    assert len(histories[0]) >= 120
    assert all(history == histories[0] for history in histories)


@pytest.mark.slow
def test_fast_ranks_do_not_wait_for_a_slow_one(start_job, tmp_path: Path) -> None:
    ranks = 8
    status, _, err = start_job(ranks, PROGRAM, "300", "3", "50").end()
    assert status == 0, err
    histories = _read(tmp_path, "history", ranks)
    for history in histories[1:]:
        assert history == histories[0]
    counts = _read(tmp_path, "summary", ranks)[0]["evaluations_per_rank"]
    fast = [count for rank, count in enumerate(counts) if rank != 3]
    # If ranks waited, the slow one would have as many as the others.
    assert min(fast) > 3 * counts[3]
    assert sum(counts) == len(histories[0])
