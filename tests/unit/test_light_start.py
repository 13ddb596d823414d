"""Help and usage errors appear at once: they load no numerical, database or MPI library."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    *(
        "mpi4py",
        "numpy",
        "optuna",
        "scipy",
        "sklearn",
        "sqlalchemy",
        "threadpoolctl",
        "tqdm",
        "psutil",
        "matplotlib",
    ),
    *("adbo.api", "adbo.comm.launch", "adbo.mirror", "adbo.optimizer", "adbo.run"),
}

SIMULATE = ["simulate", "ackley", "--workers", "4", "--trials", "9"]

IN_MEMORY = [
    *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://"),
    *("sqlite:///file::memory:?uri=true", "sqlite:///file:a?mode=memory&cache=shared&uri=true"),
]

ARGUMENTS: list[tuple[list[str], str]] = [
    (["--help"], ""),
    (["--version"], ""),
    (["run", "--help"], ""),
    (["simulate", "--help"], ""),
    (["report", "--help"], ""),
    (["walk"], "invalid choice: 'walk'"),
    (["run", "ackley", "--trails", "5"], "unrecognized arguments: --trails 5"),
    (["run", "ackley", "--trials", "many"], "invalid int value: 'many'"),
    (["run", "ackley", "--trials", "0"], "trials is 0: it must be a positive integer"),
    (["run", "ackley", "--timeout", "-1"], "it must be a positive number of seconds"),
    (["run", "ackley", "--kappa", "nan"], "it must be a finite non-negative number"),
    (["run", "ackley", "--seed", "-3"], "seed is -3: it must be a non-negative integer"),
    (["run", "ackley", "--study-name", ""], "study name is ''"),
    (["run", "ackley", "--direction", "down"], "invalid choice: 'down'"),
    (["run", "ackley", "--ranks-per-trial", "0"], "'0' is not a positive integer"),
    (["run", "ackley", "--ranks-per-trial", "2"], "it must divide the number of ranks, 1"),
    (["run", "ackley", "--gpus-per-node", "x"], "'x' is not a positive integer"),
    (["run", "ackley", "--strategies", "forest,tree"], "strategy is 'tree': it must be one of ex"),
    (
        ["run", "ackley", "--strategies", ""],
        "strategy is '': it must be one of exploration, forest",
    ),
    ([*SIMULATE, "--strategies", "trees"], "strategy is 'trees': it must be one of exploration, "),
    (
        [*SIMULATE, "--strategies", "forest", "--method", "tpe"],
        "it must be adbo or adbo-halving with strategies",
    ),
    (["run", "akley"], "no objective 'akley'"),
    (["run", "ackley:0"], "the dimension of ackley is '0': it must be an integer from 1"),
    (["run", "gone.py:objective"], "no file 'gone.py'"),
    (["run", "gone.toml"], "no file 'gone.toml'"),
    (["run", "wrong.toml"], "wrong.toml: timeout: is -1: it must be a positive number"),
    ([*SIMULATE[:1], "wrong.toml", *SIMULATE[2:]], "wrong.toml: timeout: is -1"),
    (["run", "ackley", "--json", "gone/s.json"], "there is no directory gone"),
    (["run", "ackley", "--json", "."], "it is a directory"),
    (["run", "ackley", "--storage", "adbo.db"], "adbo.db is not a database URL"),
    (["run", "ackley", "--storage", "redis://x"], "redis://... is not a database URL"),
    (["run", "ackley", "--storage", "oracel://u:secret@x"], "oracel://... is not a database URL"),
    (["run", "ackley", "--storage", "sqlite:///gone/s.db"], "there is no directory gone"),
    (["simulate", "ackley"], "the following arguments are required: --workers"),
    (["simulate", "ackley", "--workers", "4"], "a simulation needs an end"),
    ([*SIMULATE, "--workers", "0"], "workers is 0: it must be a positive integer"),
    ([*SIMULATE, "--workers", "1", "--method", "tpe"], "it must be at least 2"),
    ([*SIMULATE, "--method", "magic"], "it must be one of adbo, "),
    ([*SIMULATE, "--duration", "weibull:1"], "it must be one of normal:MEAN,STD, "),
    ([*SIMULATE, "--duration", "constant:0"], "the mean must be positive"),
    ([*SIMULATE, "--latency", "-1"], "it must be a non-negative number of seconds"),
    ([*SIMULATE, "--processes", "0"], "processes is 0: it must be a positive integer"),
    ([*SIMULATE, "--storage", "oracel://x"], "oracel://... is not a database URL"),
    (["simulate", "gone.py:f", "--workers", "4", "--trials", "9"], "no file 'gone.py'"),
    *((["run", "ackley", "--storage", url], "use --storage none") for url in IN_MEMORY),
    ([*SIMULATE, "--storage", "sqlite://"], "use --storage none"),
    (["report", "--storage", "sqlite:///:memory:"], "use --storage none"),
    (["report"], "there is no file adbo.db"),
    (["report", "--storage", "none"], "report needs a database"),
    (["report", "--watch", "5"], "--watch needs --html PATH"),
    (["report", "--watch", "0.5", "--html", "r.html"], "it must be at least 1 second"),
    (["report", "--watch", "1e10", "--html", "r.html"], "1 second, at most 9223"),
    (["report", "--watch", "5", "--html", "r.html", "--csv", "-"], "use --csv without it"),
    (["report", "--watch", "5", "--html", "r.html", "--json", "s.json"], "use --json without it"),
    (["report", "--html", "gone/r.html"], "there is no directory gone"),
]

#: All of it but the time limit is right, and checked.
WRONG_STUDY_FILE = """
command = "echo {x}"
timeout = -1
[parameters.x]
kind = "float"
low = 0
high = 1
"""

#: Runs every command line in one process; prints its status, its error and what is loaded.
PROGRAM = """
import contextlib, io, json, sys
from adbo.cli.main import main

heavy = set(sys.argv[1].split(","))
for arguments in json.loads(sys.argv[2]):
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = exit.code
    print(json.dumps([status, error.getvalue(), sorted(heavy & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[list[object]]:
    arguments = json.dumps([words for words, _ in ARGUMENTS])
    place = tmp_path_factory.mktemp("empty")
    (place / "wrong.toml").write_text(WRONG_STUDY_FILE)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(HEAVY), arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env=_environment(),
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def _environment() -> dict[str, str]:
    """Return the environment of a process without a launcher."""
    root = str(Path(__file__).parents[2])
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": root}


@pytest.mark.parametrize("index", range(len(ARGUMENTS)), ids=[" ".join(a) for a, _ in ARGUMENTS])
def test_nothing_heavy_is_loaded(results: list[list[object]], index: int) -> None:
    expected = ARGUMENTS[index][1]
    status, error, loaded = results[index]
    assert loaded == []
    assert status == (2 if expected else 0)
    if expected:
        assert str(error).startswith("adbo: ")
        assert str(error).count("\n") == 1
        assert expected in str(error)
        assert "secret" not in str(error)
    else:
        assert error == ""


def test_ctrl_c_while_libraries_are_loaded_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "threadpoolctl.py").write_text("import time\nprint(flush=True)\ntime.sleep(600)")
    command = [sys.executable, "-m", "adbo", "run", "ackley", "--storage", "none"]
    # Where the tests are in the background, Ctrl-C is ignored, and processes inherit that.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run = subprocess.Popen(
            command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    finally:
        signal.signal(signal.SIGINT, previous)
    with run:
        assert run.stdout is not None
        run.stdout.readline()
        run.send_signal(signal.SIGINT)
        try:
            _, err = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == -signal.SIGINT
    assert err == ""
