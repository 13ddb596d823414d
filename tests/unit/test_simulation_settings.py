"""The light table of methods agrees with the registry, and jobs that cannot be are refused."""

from __future__ import annotations

import pytest

from adbo.cli.main import main
from adbo.simulation.centralized import run_managed
from adbo.simulation.methods import METHODS
from adbo.simulation.settings import IN_JOBS, MANAGED, METHOD_NAMES


def test_the_names_are_those_of_the_registry() -> None:
    assert tuple(METHODS) == METHOD_NAMES


def test_the_managed_methods_are_those_with_a_manager() -> None:
    assert {
        name for name, run in METHODS.items() if getattr(run, "func", None) is run_managed
    } == (MANAGED)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--jobs", "3"], "jobs is 3: it must be a divisor of the number of workers, 8"),
        (["--jobs", "16"], "jobs is 16: it must be a divisor of the number of workers, 8"),
        (["--jobs", "0"], "jobs is 0: it must be a positive integer"),
        (["--job-latency", "nan"], "job latency is nan: it must be a non-negative number of"),
        (["--latency", "3", "--jobs", "2"], "job latency is 1.0: it must be at least the latency"),
    ],
)
def test_jobs_that_make_no_sense(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "sphere:2", "--workers", "8", "--trials", "9", *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert complaint in line


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_only_asynchronous_methods_run_in_several_jobs(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = ["--workers", "4", "--trials", "9", "--jobs", "2", "--method", method]
    refused = main(["simulate", "sphere:2", *jobs]) == 2
    assert refused == (method not in IN_JOBS)
    if refused:
        assert f"method is '{method}': it must be adbo or random with" in capsys.readouterr().err
