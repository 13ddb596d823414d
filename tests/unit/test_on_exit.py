"""The command of --on-exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adbo.cli.main import main
from adbo.cli.on_exit import OnExit, environment
from adbo.core.summary import Summary
from adbo.interruption.stopping import StopReason

#: Writes the variables and the summary into a file; fails if there is no summary.
SAVE = """
import json, os, pathlib
found = {k: v for k, v in os.environ.items() if k.startswith("ADBO_")}
found["summary"] = json.loads(pathlib.Path(found["ADBO_SUMMARY"]).read_text())
with pathlib.Path("said.jsonl").open("a") as file:
    print(json.dumps(found), file=file)
"""

OBJECTIVES = """
import os, time

def f(trial):
    return trial.suggest_float("x", 0, 1)

def bad(trial):
    raise ValueError("no mesh\\0")

def away(trial):
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
    return f(trial)

def endless(trial):
    x = f(trial)
    if trial.number == 2:
        open("begun", "w").close()
        time.sleep(600)
    return x
"""


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    Path("save.py").write_text(SAVE)
    Path("o.py").write_text(OBJECTIVES)


def _save() -> str:
    return f"{sys.executable} save.py"


def _said(tmp_path: Path) -> dict[str, Any]:
    """Return what the command saw, which ran once."""
    (line,) = (tmp_path / "said.jsonl").read_text().splitlines()
    return json.loads(line)


@pytest.mark.parametrize(
    ("objective", "options", "status", "reason"),
    [
        ("o.py:f", ["--trials", "5"], 0, "the study has its 5 trials"),
        ("o.py:f", ["--target", "2"], 0, "the target 2.0 was reached"),
        ("o.py:away", ["--patience", "5"], 0, "no improvement in the last 5 trials"),
        (
            "o.py:bad",
            ["--max-failures", "3"],
            1,
            "the last 3 evaluations failed: ValueError: no mesh",
        ),
        ("o.py:bad", ["--trials", "2"], 1, "the study has its 2 trials"),
        ("o.py:endless", ["--timeout", "1"], 0, "the time was up"),
    ],
)
def test_it_runs_once_however_a_run_ends(
    tmp_path: Path, objective: str, options: list[str], status: int, reason: str
) -> None:
    words = ["run", objective, "--study-name", "s", *options]
    assert main([*words, "--on-exit", _save()]) == status
    said = _said(tmp_path)
    assert said["ADBO_STATUS"] == str(status)
    assert said["ADBO_REASON"].startswith(reason)
    assert said["ADBO_STUDY_NAME"] == "s"
    assert said["ADBO_STORAGE"] == "sqlite:///adbo.db"
    assert said["summary"]["status"] == status
    assert said["summary"]["reason"] == said["ADBO_REASON"]
    assert not Path(said["ADBO_SUMMARY"]).exists()


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_it_runs_after_a_signal(tmp_path: Path, number: signal.Signals, reason: str) -> None:
    words = ["run", "o.py:endless", "--json", "s.json", "--on-exit", _save()]
    process = subprocess.Popen([sys.executable, "-m", "adbo", *words])
    try:
        deadline = time.monotonic() + 90
        while not Path("begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(90) == 130
    finally:
        process.kill()
    said = _said(tmp_path)
    assert (said["ADBO_STATUS"], said["ADBO_REASON"]) == ("130", reason)
    assert said["ADBO_SUMMARY"] == str(tmp_path / "s.json")
    assert said["summary"] == json.loads((tmp_path / "s.json").read_text())


def test_it_runs_after_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("adbo.run.rank.propose", fail)
    with pytest.raises(ZeroDivisionError):
        main(["run", "o.py:f", "--trials", "5", "--on-exit", _save()])
    said = _said(tmp_path)
    assert (said["ADBO_STATUS"], said["ADBO_REASON"]) == ("1", "ZeroDivisionError: a bug")


def test_it_runs_if_the_objective_contradicts_the_study(tmp_path: Path) -> None:
    options = ["--trials", "9", "--study-name", "s", "--resume"]
    assert main(["run", "sphere:2", *options]) == 0
    Path("o.py").write_text("def f(trial):\n    return trial.suggest_int('x0', 0, 1)\n")
    options = [*options, "--trials", "12", "--json", "s.json"]
    assert main(["run", "o.py:f", *options, "--on-exit", _save()]) == 2
    said = _said(tmp_path)
    assert said["ADBO_STATUS"] == "2"
    assert said["ADBO_REASON"].startswith("parameter 'x0': the objective asks for")
    assert not Path("s.json").exists()


def test_wrong_usage_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "o.py:f", "--trials", "0", "--on-exit", _save()]) == 2
    assert main(["run", "o.py:missing", "--on-exit", _save()]) == 2
    assert not (tmp_path / "said.jsonl").exists()
    capsys.readouterr()
    assert main(["run", "o.py:f", "--on-exit", " "]) == 2
    assert "on-exit is empty: it must be a shell command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 3", "ended with status 3"),
        ("no-such-command 2>/dev/null", "ended with status 127"),
        ("kill -TERM $$", "ended by SIGTERM"),
    ],
)
def test_a_failure_is_one_line_and_not_the_status(
    command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--trials", "3", "--storage", "none", "--quiet"]
    assert main(["run", "o.py:f", *options, "--on-exit", command]) == 0
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


SUMMARY = Summary(
    study_name="s",
    storage="postgresql://me:***@host/db",
    direction="minimize",
    best_value=None,
    best_params=None,
    n_complete=0,
    n_pruned=0,
    n_fail=0,
    wall_seconds=0.0,
    utilization=0.0,
    evaluations_per_rank=[],
    status=0,
    reason="SIGTERM",
)


@pytest.mark.parametrize("reason", [None, StopReason.SIGTERM, StopReason.WALLTIME])
def test_a_command_that_does_not_end_is_killed_with_its_children(
    reason: StopReason | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = "_SECONDS" if reason is None else "_HURRIED_SECONDS"
    monkeypatch.setattr(f"adbo.cli.on_exit.{seconds}", 0.5)
    OnExit("sleep 600 & echo $! > child; wait").run(SUMMARY, reason=reason)
    assert "was killed after 0.5 s" in capsys.readouterr().err
    child = int(Path("child").read_text())
    deadline = time.monotonic() + 60  # of 600; on a busy machine it is killed, but not yet gone
    while _is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_ends_a_command_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        OnExit(f"echo $$ > shell; sleep 1; kill -INT {os.getpid()}; sleep 600").run(SUMMARY)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert capsys.readouterr().err == "adbo: the command of --on-exit was ended by Ctrl-C\n"
    assert not _is_running(int(Path("shell").read_text()))


def _is_running(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_the_launcher_is_not_inherited() -> None:
    environ = {"PATH": "/bin", "PMI_RANK": "1", "PMIX_RANK": "1", "OMPI_COMM_WORLD_RANK": "1"}
    found = environment(SUMMARY, Path("/s.json"), environ)
    assert {name for name in found if not name.startswith("ADBO_")} == {"PATH"}
    assert found["ADBO_STORAGE"] == "postgresql://me:***@host/db"
    assert os.environ.get("ADBO_STATUS") is None


def test_a_locale_may_lack_letters_of_the_reason() -> None:
    Path("o.py").write_text(OBJECTIVES.replace("no mesh", "\N{GREEK SMALL LETTER ALPHA} > 1"))
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "adbo", "run", "o.py:bad", "--max-failures", "1", "--quiet"]
    done = subprocess.run(
        [*command, "--storage", "none", "--on-exit", 'echo "$ADBO_REASON"'],
        env={**os.environ, **locale},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "\\u03b1 > 1" in done.stdout
    assert "Traceback" not in done.stderr
