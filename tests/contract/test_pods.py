"""Pods of the Kubernetes Job of `adbo jobscript`: they die, are evicted, and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from runs import Runs

from adbo.cli.jobscript import script
from adbo.cli.parser import make_parser

PODS, TRIALS = 3, 150


class Pod:
    """The container of a pod: its command, its environment, and its restart policy."""

    def __init__(self, place: Path, command: list[str], environment: dict[str, str]) -> None:
        place.mkdir()
        self._err = place / "log"
        self.start = lambda: subprocess.Popen(
            command,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._err.open("a"),
        )
        self.process = self.start()
        self.restarts = 0

    def lose(self, how: signal.Signals) -> None:
        """Let the container end by a signal, and start it again, as the restart policy says."""
        self.process.send_signal(how)
        if self.process.wait(60) != 0:
            self.process = self.start()
            self.restarts += 1

    @property
    def log(self) -> str:
        """What it has written to standard error in all its lives."""
        return self._err.read_text()


@pytest.fixture
def runs(tmp_path: Path, make_url: Callable[[str], str]) -> Runs:
    """The study in PostgreSQL, and its objective in a folder, as the Job mounts it."""
    return Runs(tmp_path, make_url("postgresql"))


@pytest.fixture
def pods(tmp_path: Path, runs: Runs) -> Iterator[list[Pod]]:
    """The pods of the Job, each with a folder of its own."""
    arguments = ["--array", str(PODS), "--study-name", "s", "--trials", str(TRIALS)]
    arguments += ["--objective", "objective.py:objective"]
    job = yaml.safe_load(script(make_parser().parse_args(["jobscript", "kubernetes", *arguments])))
    spec = job["spec"]["template"]["spec"]
    assert spec["restartPolicy"] == "OnFailure"
    (container,) = spec["containers"]
    command = [part.replace("/objective/", f"{tmp_path}/") for part in container["command"]]
    command[0] = sys.executable
    values = {each["name"]: each.get("value") for each in container["env"]}
    environment = os.environ | values | {"DATABASE_URL": runs.url}
    numbers = range(job["spec"]["parallelism"])
    started = [Pod(tmp_path / f"pod{i}", command, environment) for i in numbers]
    yield started
    for pod in started:
        pod.process.kill()
        pod.process.wait()


@pytest.mark.slow
def test_the_study_goes_on_when_pods_die_and_come_back(runs: Runs, pods: list[Pod]) -> None:
    ends = ((0, signal.SIGKILL), (1, signal.SIGTERM), (0, signal.SIGKILL))
    for n, (number, how) in enumerate(ends):
        runs.wait_for_trials(20 * (n + 1))
        pods[number].lose(how)
    assert pods[0].restarts == 2
    assert pods[1].restarts == 1
    for pod in pods:
        assert pod.process.wait(180) == 0, pod.log
    trials = runs.check()
    assert TRIALS <= len(trials) <= TRIALS + 20 * PODS
    # A killed pod loses the evaluations of its last second; an evicted one loses none.
    missing = runs.made() - {trial.user_attrs["id"] for trial in trials}
    assert len(missing) <= 2 * 21
    assert all("Traceback" not in pod.log for pod in pods)
