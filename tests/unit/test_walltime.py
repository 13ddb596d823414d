"""The end of a Slurm job, and what an end means for a run."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest

import adbo
from adbo.comm.in_process import SingleRank
from adbo.core.settings import Settings
from adbo.interruption.stopping import Interruption, StopReason
from adbo.mirror.filesystem import shared_kind
from adbo.run.walltime import last_moment, within_walltime

JOB = {"SLURM_JOB_ID": "7"}


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that answers with what stands in a file beside it, or fails without one."""
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\n[ "$*" = "show job 7 --oneliner" ] && cat {tmp_path}/answer\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "answer"


def test_no_job_no_limit() -> None:
    assert last_moment({}, 0.0) is None
    assert last_moment({"SLURM_JOB_END_TIME": "100"}, 0.0) is None


@pytest.mark.parametrize(
    ("left", "usable"), [(3600, 3540), (600, 570), (60, 55), (4, -1), (-5, -10)]
)
def test_a_reserve_is_kept(left: int, usable: float) -> None:
    environ = {**JOB, "SLURM_JOB_END_TIME": str(1000 + left)}
    assert last_moment(environ, 1000.0) == pytest.approx(1000 + usable)


def test_the_controller_is_asked(scontrol: Path) -> None:
    end = time.mktime((2030, 5, 4, 3, 2, 1, 0, 0, -1))
    scontrol.write_text("JobId=7 StartTime=2030-05-04T01:00:00 EndTime=2030-05-04T03:02:01 X=y\n")
    assert last_moment(JOB, end - 3600) == end - 60


def test_a_task_of_a_job_array_asks_for_itself(scontrol: Path) -> None:
    """The job id of the last task is also the number of the whole array."""
    program = scontrol.parent / "scontrol"
    program.write_text(program.read_text().replace("show job 7 ", "show job 7_3 "))
    end = time.mktime((2030, 5, 4, 3, 2, 1, 0, 0, -1))
    scontrol.write_text("JobId=7 ArrayJobId=7 EndTime=2030-05-04T03:02:01 X=y\n")
    environ = {**JOB, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    assert last_moment(environ, end - 3600) == end - 60


@pytest.mark.parametrize("answer", [None, "", "JobId=7 EndTime=Unknown Deadline=N/A\n"])
def test_a_controller_that_does_not_know(scontrol: Path, answer: str | None) -> None:
    if answer is not None:
        scontrol.write_text(answer)
    assert last_moment(JOB, 0.0) is None


def test_a_controller_that_is_too_busy(scontrol: Path) -> None:
    (scontrol.parent / "scontrol").write_text("#!/bin/sh\nexec sleep 60\n")
    assert last_moment(JOB, 0.0, patience=0.2) is None


@pytest.mark.parametrize(
    ("timeout", "expected", "reason"),
    [
        (None, 570, StopReason.WALLTIME),
        (100.0, 100, StopReason.DEADLINE),
        (5000.0, 570, StopReason.WALLTIME),
    ],
)
def test_the_earlier_end_counts(
    timeout: float | None, expected: float, reason: StopReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 600))
    settings = within_walltime(Settings(timeout=timeout), SingleRank())
    with Interruption(settings.timeout, settings.walltime) as interruption:
        assert interruption.seconds_left == pytest.approx(expected, abs=20)
        assert interruption.deadline_reason is reason
        assert interruption.check() is None


def test_a_job_that_is_as_good_as_over_begins_nothing() -> None:
    with Interruption(100.0, time.time() - 5) as interruption:
        assert interruption.check() is StopReason.WALLTIME


def test_what_cannot_finish_is_not_begun() -> None:
    begun = []

    def objective(trial: optuna.Trial) -> float:
        begun.append(trial.number)
        time.sleep(0.4)
        return trial.suggest_float("x", 0, 1)

    study = adbo.optimize(objective, timeout=1.0, storage=None)
    assert 1 <= len(begun) == len(study.trials) <= 2


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
35 21 0:40 / /scratch rw,noatime shared:9 - lustre mds@tcp:/scratch rw
36 35 0:41 / /scratch/local rw - xfs /dev/nvme0 rw
37 21 0:42 / /home/a\\040b rw master:3 - nfs4 server:/home rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/s.db", None),
        ("/scratch/project/s.db", "lustre"),
        ("/scratch/local/s.db", None),
        ("/scratchy/s.db", None),
        ("/home/a b/s.db", "nfs4"),
    ],
)
def test_file_systems_that_others_write_too(tmp_path: Path, path: str, kind: str | None) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert shared_kind(Path(path), tmp_path / "mountinfo") == kind


def test_no_list_of_file_systems(tmp_path: Path) -> None:
    assert shared_kind(tmp_path, tmp_path / "none") is None
