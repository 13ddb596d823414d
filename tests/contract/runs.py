"""Runs of the command line in processes of their own, and whether a study has all they made."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from adbo.core.job import job_of

#: Gives each evaluation an id, and appends it to the file ``made`` before it returns. Late ones of
#: each job wait while there is a file ``hold``.
OBJECTIVE = """\
import os
import time
import uuid


def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    time.sleep({seconds})
    while trial.number % 1000000 >= 30 and os.path.exists({hold!r}):
        time.sleep(0.01)
    text = uuid.uuid4().hex
    trial.set_user_attr("id", text)
    descriptor = os.open({made!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{{text}}\\n".encode())
    os.close(descriptor)
    return x * x
"""


class Run:
    """A job: ranks under ``mpiexec``, or one process without it."""

    def __init__(
        self, place: Path, number: int, url: str, ranks: int, arguments: list[str]
    ) -> None:
        self._json = place / f"{number}.json"
        self._err = place / f"{number}.err"
        launcher = [] if ranks == 1 else [_mpiexec(), "-n", str(ranks)]
        options = ["--study-name", "s", "--storage", url, "--json", str(self._json)]
        command = [sys.executable, "-m", "adbo", "run", "objective.py:objective", *options]
        environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
        environment |= {"OMP_NUM_THREADS": "1", "HOME": str(place)}
        with self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*launcher, *command, *arguments],
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text()

    @property
    def summary(self) -> dict[str, Any]:
        """The summary, after the end."""
        summary: dict[str, Any] = json.loads(self._json.read_text())
        return summary

    def end(self, status: int = 0) -> Run:
        """Wait for the end."""
        assert self.process.wait(180) == status, self.err
        return self

    def kill(self) -> None:
        """Kill all its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Runs:
    """Jobs that work on a study ``s``, in a directory of a test."""

    def __init__(self, place: Path, url: str) -> None:
        self.place = place
        self.url = url
        self._all: list[Run] = []
        self.slowly(0.05)

    def slowly(self, seconds: float) -> None:
        """Let each evaluation of the jobs that start from now on take some seconds."""
        made, hold = str(self.place / "made"), str(self.place / "hold")
        text = OBJECTIVE.format(seconds=seconds, made=made, hold=hold)
        (self.place / "objective.py").write_text(text)

    def start(self, *arguments: str, ranks: int = 1) -> Run:
        """Start a job that resumes the study."""
        run = Run(self.place, len(self._all), self.url, ranks, ["--resume", *arguments])
        self._all.append(run)
        return run

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Let each job make no more than its first 30 evaluations for a while."""
        (self.place / "hold").touch()
        yield
        (self.place / "hold").unlink()

    def kill(self) -> None:
        """Kill what runs."""
        for run in self._all:
            run.kill()

    @property
    def study(self) -> optuna.Study:
        """The study, on connections that are closed after each use."""
        storage = optuna.storages.RDBStorage(
            self.url, engine_kwargs={"poolclass": sa.pool.NullPool}
        )
        return optuna.load_study(study_name="s", storage=storage)

    def trials(self) -> list[FrozenTrial]:
        """Return the finished trials; none if there is no study."""
        if self.url.startswith("sqlite") and not Path(self.url.partition(":///")[2]).exists():
            return []
        try:
            trials = self.study.get_trials(deepcopy=False)
        except Exception:  # it is being made, or the server is gone
            return []
        return [trial for trial in trials if trial.state.is_finished()]

    def made(self) -> set[str]:
        """Return the ids of all evaluations."""
        path = self.place / "made"
        return set(path.read_text().split()) if path.exists() else set()

    def wait_for(self, is_so: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + 120
        while not is_so():
            assert time.monotonic() < deadline, [run.err for run in self._all]
            time.sleep(0.05)

    def wait_for_trials(self, number: int, job: int | None = None) -> None:
        """Wait until the study has this number of finished trials, if need be of one job."""

        def is_so() -> bool:
            jobs = [job_of(trial.user_attrs["adbo:seq"]) for trial in self.trials()]
            return (len(jobs) if job is None else jobs.count(job)) >= number

        self.wait_for(is_so)

    def check(self) -> list[FrozenTrial]:
        """Check that the study is sound, and return its trials."""
        trials = self.study.get_trials()
        numbers = [t.number for t in trials]
        assert numbers == list(range(len(trials))), numbers
        assert {t.state for t in trials} <= {TrialState.COMPLETE}
        names = [(t.user_attrs["adbo:rank"], t.user_attrs["adbo:seq"]) for t in trials]
        assert len(set(names)) == len(names)
        ids = {t.user_attrs["id"] for t in trials}
        assert len(ids) == len(trials)
        assert ids <= self.made()
        return trials

    def check_all(self) -> list[FrozenTrial]:
        """Check that the study has all that was evaluated, each once; return its trials."""
        trials = self.check()
        assert {t.user_attrs["id"] for t in trials} == self.made()
        return trials


def _mpiexec() -> str:
    command = shutil.which("mpiexec", path=sysconfig.get_path("scripts"))
    assert command is not None, "the extra mpich brings an mpiexec"
    return command
