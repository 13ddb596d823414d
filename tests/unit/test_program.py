"""A program as the objective: what each key of a study file does, and what failures become."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

import adbo
from adbo.cli.main import main
from adbo.interruption.stopping import EvaluationAbandoned, Interruption
from adbo.objective.loading import load
from adbo.objective.program import process
from adbo.objective.program.objective import Program, ProgramFailed

X = '[parameters.x]\nkind = "float"\nlow = -5\nhigh = 5\n'
S = '[parameters.s]\nkind = "categorical"\nchoices = ["cg", "direct"]\n'

#: Prints its arguments, one a line.
ARGUMENTS = '["sh", "-c", \'for word; do echo "$word"; done\', "sh", '


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Program]:
    """Return a function that makes a program from the text of a study file."""

    def make(text: str) -> Program:
        (tmp_path / "study.toml").write_text(text)
        return adbo.load_program(tmp_path / "study.toml")

    return make


def _shell(script: str, more: str = "") -> str:
    """Return a study file with a script of the shell and one parameter."""
    return f"command = ['sh', '-c', '''{script}''']\n{more}\n{X}"


def _trial(number: int = 0, **params: Any) -> FixedTrial:
    return FixedTrial(params or {"x": 1.0}, number=number)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _reason(program: Program, trial: FixedTrial | None = None) -> str:
    with pytest.raises(ProgramFailed) as caught:
        program(trial or _trial())
    return str(caught.value)


def _is_alive(number: int) -> bool:
    """Return whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_list_of_arguments(make, tmp_path: Path) -> None:
    program = make(f'command = {ARGUMENTS}"--x={{x}}", "a b", "{{{{x}}}}", "{{x:.2e}}"]\n{X}')
    assert program(_trial(x=0.1 + 0.2)) == 0.3
    out = tmp_path / "trials" / "trial-000000" / "stdout.txt"
    assert _lines(out) == ["--x=0.30000000000000004", "a b", "{x}", "3.00e-01"]


def test_a_text_is_split_as_by_a_shell_and_values_are_not(make, tmp_path: Path) -> None:
    script = tmp_path / "show.sh"
    script.write_text('for word; do echo "$word"; done; echo 7\n')
    choices = '[parameters.c]\nkind = "categorical"\nchoices = ["$HOME; ls"]\n'
    program = make(f"command = \"sh ./show.sh 'a b' {{c}}\"\n{choices}")
    assert program(_trial(c="$HOME; ls")) == 7
    assert _lines(tmp_path / "trials/trial-000000/stdout.txt") == ["a b", "$HOME; ls", "7"]


def test_arguments_in_a_list_are_left_out_with_their_parameter(make, tmp_path: Path) -> None:
    y = '[parameters.y]\nkind = "int"\nlow = 1\nhigh = 9\nwhen.s = "cg"\n'
    program = make(f'command = {ARGUMENTS}"{{s}}", ["--y", "{{y}}"], "0"]\n{S}{y}')
    program(_trial(s="cg", y=3))
    program(_trial(1, s="direct"))
    trials = tmp_path / "trials"
    assert _lines(trials / "trial-000000" / "stdout.txt") == ["cg", "--y", "3", "0"]
    assert _lines(trials / "trial-000001" / "stdout.txt") == ["direct", "0"]


def test_a_program_beside_the_study_file_runs_in_the_trials_directory(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sim", "bin/sim-{cg}"):
        (tmp_path / name).write_text("#!/bin/sh\npwd; echo $1; echo 5\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir("/")
    assert make(f'command = ["./sim", "../{tmp_path.name}/sim"]\n{S}')(_trial(s="cg")) == 5
    out = _lines(tmp_path / "trials/trial-000000/stdout.txt")
    assert out == [f"{tmp_path}/trials/trial-000000", f"{tmp_path}/sim", "5"]
    assert make(f'command = ["bin/sim-{{{{{{s}}}}}}"]\n{S}')(_trial(1, s="cg")) == 5
    assert make(f'command = ["{{study.directory}}/sim"]\n{S}')(_trial(2, s="cg")) == 5


def test_a_program_that_placeholders_name_wrongly_fails(make) -> None:
    assert "cannot start" in _reason(make(f'command = "./sim-{{s}}"\n{S}'), _trial(s="cg"))
    null = make('command = "echo {s}"\n' + S.replace("cg", "c\\u0000g"))
    assert _reason(null, _trial(s="c\0g")) == "cannot start echo: embedded null byte"


def test_other_placeholders(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE", "n7")
    names = ("trial.number", "trial.directory", "study.directory", "env.NODE")
    words = ", ".join(f'"{{{name}}}"' for name in names)
    make(f'command = {ARGUMENTS}{words}, "1"]\n{X}')(_trial(12))
    directory = f"{tmp_path}/trials/trial-000012"
    assert _lines(Path(directory, "stdout.txt")) == ["12", directory, str(tmp_path), "n7", "1"]


def test_kinds_of_parameters(make, tmp_path: Path) -> None:
    program = make(
        f'command = {ARGUMENTS}"{{f}}", "{{g}}", "{{h}}", "{{i}}", "{{j}}", "{{k}}", "1"]\n'
        '[parameters]\nf = { kind = "float", low = 0, high = 1 }\n'
        'g = { kind = "float", low = 1e-5, high = 1, log = true }\n'
        'h = { kind = "float", low = 0, high = 1, step = 0.1 }\n'
        'i = { kind = "int", low = 1, high = 9, step = 2 }\n'
        'j = { kind = "int", low = 1, high = 1024, log = true }\n'
        'k = { kind = "categorical", choices = [3, 2.5, true, "a"] }\n'
    )  # fmt: skip
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(program, n_trials=3)
    assert study.trials[0].distributions == {
        "f": optuna.distributions.FloatDistribution(0, 1),
        "g": optuna.distributions.FloatDistribution(1e-5, 1, log=True),
        "h": optuna.distributions.FloatDistribution(0, 1, step=0.1),
        "i": optuna.distributions.IntDistribution(1, 9, step=2),
        "j": optuna.distributions.IntDistribution(1, 1024, log=True),
        "k": optuna.distributions.CategoricalDistribution([3, 2.5, True, "a"]),
    }
    for trial in study.trials:
        *numbers, k, _ = _lines(Path(trial.user_attrs["adbo:directory"], "stdout.txt"))
        assert list(map(float, numbers)) == [trial.params[name] for name in "fghij"]
        assert k == str(trial.params["k"]).replace("True", "true")


def test_conditions(make) -> None:
    program = make(
        'command = ["echo", "{t}{u}{v:d}1"]\n' + S + "[parameters]\n"
        'n = { kind = "int", low = 1, high = 3 }\n'
        't = { kind = "int", low = 1, high = 9, when.s = "cg", otherwise = "" }\n'
        'u = { kind = "int", low = 1, high = 9, when = { t = [1, 2], n = 3 }, otherwise = 0 }\n'
        'v = { kind = "int", low = 1, high = 9, when.u = 7, otherwise = "x" }\n'
    )
    assert program(_trial(s="cg", n=3, t=2, u=7, v=5)) == 2751
    assert _reason(program, _trial(s="cg", n=1, t=2)).startswith("no value: standard output: '20x")
    assert _reason(program, _trial(s="direct", n=3)).startswith("no value: standard output: '0x1'")


def test_input_files_are_filled_exactly(make, tmp_path: Path) -> None:
    (tmp_path / "sim.in").write_bytes("ü {{ x = {x} }}\r\n".encode() + b"\xff\n")
    (tmp_path / "run.sh").write_text("#!/bin/sh\ncat in/sim.nml; echo @x:.1f@ {\n")
    (tmp_path / "run.sh").chmod(0o750)
    program = make(
        f'command = "./run.sh"\n{X}[files]\n"in/sim.nml" = "sim.in"\n'
        '"run.sh" = { template = "run.sh", marks = ["@", "@"] }\n[value]\ntake = "last number"\n'
    )
    (tmp_path / "sim.in").unlink()  # templates are read once, when the run begins
    assert program(_trial(x=1 / 3)) == 0.3
    directory = tmp_path / "trials" / "trial-000000"
    content = "ü { x = 0.3333333333333333 }\r\n".encode() + b"\xff\n"
    assert (directory / "in" / "sim.nml").read_bytes() == content
    assert stat.S_IMODE((directory / "run.sh").stat().st_mode) == 0o750
    assert (directory / "stdout.txt").read_bytes() == content + b"0.3 {\n"


def test_links_and_standard_input(make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mesh.txt").write_text("4\n")
    assert (
        make(f'command = "cat"\nlinks = ["data/mesh.txt"]\nstdin = "mesh.txt"\n{X}')(_trial()) == 4
    )
    link = tmp_path / "trials" / "trial-000000" / "mesh.txt"
    assert link.resolve() == tmp_path / "data" / "mesh.txt"


def test_there_is_no_standard_input(make) -> None:
    assert make(_shell("cat; echo 1"))(_trial()) == 1


def test_the_environment(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_JOB_ID", "SLURM_NTASKS", "KEPT"):
        monkeypatch.setenv(name, "3")
    program = make(
        _shell("env; echo 1", 'unset = ["SLURM_*"]')
        + '[environment]\nOMP_NUM_THREADS = 4\nX = "{x:.1f}"\n'
    )
    program(_trial(x=0.25))
    lines = set(_lines(tmp_path / "trials" / "trial-000000" / "stdout.txt"))
    assert {"OMP_NUM_THREADS=4", "X=0.2", "KEPT=3"} <= lines
    assert not [line for line in lines if line.startswith(("PMI_", "OMPI_", "SLURM_"))]


def test_a_path_of_its_own(make, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\necho 6\n")
    (tmp_path / "mine").chmod(0o755)
    environment = '[environment]\nPATH = "{study.directory}:{env.PATH}"\n'
    assert make(f'command = "mine"\n{X}{environment}')(_trial()) == 6


def test_a_directory_elsewhere(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    make(_shell("echo 1", 'directory = "$SCRATCH/runs"'))(_trial(1_000_007))
    assert (tmp_path / "scratch" / "runs" / "trial-1000007" / "stdout.txt").exists()


def test_an_existing_directory_is_left_alone(make, tmp_path: Path) -> None:
    old = tmp_path / "trials" / "trial-000003"
    old.mkdir(parents=True)
    (old / "stdout.txt").write_text("old\n")
    program = make(_shell("echo 1"))
    for name in ("trial-000003.1", "trial-000003.2"):
        trial = _trial(3)
        assert program(trial) == 1
        assert trial.user_attrs == {"adbo:directory": str(tmp_path / "trials" / name)}
    assert (old / "stdout.txt").read_text() == "old\n"


def test_directories_of_successes_are_removed(make, tmp_path: Path) -> None:
    y = '[parameters.y]\nkind = "int"\nlow = 0\nhigh = 9\n'
    program = make(_shell("echo 1; exit {y}", 'keep = "failed"\npruned_codes = [2]') + y)
    good, bad = _trial(0, x=1.0, y=0), _trial(1, x=1.0, y=1)
    assert program(good) == 1
    with pytest.raises(ProgramFailed):
        program(bad)
    with pytest.raises(optuna.TrialPruned):
        program(_trial(2, x=1.0, y=2))
    assert _reason(make(_shell("echo nan", 'keep = "failed"')), _trial(3)).endswith("nan")
    assert sorted(os.listdir(tmp_path / "trials")) == ["trial-000001", "trial-000003"]
    assert good.user_attrs == {}
    assert bad.user_attrs == {"adbo:directory": str(tmp_path / "trials" / "trial-000001")}


VALUES = [
    ("printf '1.5\\n\\n'", "", 1.5),
    ("echo 'energy 9'; echo ' -1.0D-03 '", "", -1e-3),
    ("echo 'v1.2: energy 3e2 J in 5 steps.'", "take = 'last number'", 5),
    ("echo 'f = .5E+1, x1'", "take = 'last number'", 5),
    ("echo 'f = 0.1000000-100'", "take = 'last number'", 1e-101),
    ("echo 12,0.5", "take = 'last number'", 0.5),
    ("echo 3,0.5,250", "take = 'last number'", 250),
    ("echo f = \N{MINUS SIGN}0.5", "take = 'last number'", -0.5),
    ("echo \N{MINUS SIGN}3", "", -3),
    ("echo loss:0.5 at 2024-05-01T12:00", "take = 'last number'", 0.5),
    ("echo ' -2.+300 '", "", -2e300),
    ("printf 'e = 1\\ne = 2\\nend\\n'", r"regex = '^e = (\S+)$'", 2),
    ("echo 3 > out; echo 4", "file = 'out'", 3),
    ("truncate -s 1T out; printf '\\n3\\n' >> out", "file = 'out'", 3),
    ('echo \'{{"a": {{"b": [1, 2.5]}}}}\' > r.json', "file = 'r.json'\njson = 'a.b.1'", 2.5),
    ('echo start; echo \'{{"a": "1D2"}}\'', "json = 'a'", 100),
    ("echo inf", "", float("inf")),
]


@pytest.mark.parametrize(("script", "value", "expected"), VALUES)
def test_where_the_value_is(make, script: str, value: str, expected: float) -> None:
    assert make(f"{_shell(script)}[value]\n{value}\n")(_trial()) == expected


NO_VALUES = [
    ("true", "", "no value: standard output is empty"),
    ("echo 1; echo Done", "", "no value: standard output: 'Done' is not a number"),
    ("echo '****'", "", "no value: standard output: '****' is not a number"),
    ("echo 3.5s", "", "no value: standard output: '3.5s' is not a number"),
    ("echo none", "take = 'last number'", "no value: standard output: there is no number"),
    (
        "echo 5; echo 1,234.5",
        "take = 'last number'",
        "no value: standard output: '1,234.5' is not",
    ),
    ("echo 3,14", "take = 'last number'", "no value: standard output: '3,14' is not a"),
    ("echo f = -1234,5e-2.", "take = 'last number'", "no value: standard output: '-1234,5e-2' is"),
    ("echo 12,850", "take = 'last number'", "no value: standard output: '12,850' is not a"),
    ("echo 100-200", "take = 'last number'", "no value: standard output: '100-200' is not a"),
    ("echo 5 at 12:30", "take = 'last number'", "no value: standard output: '12:30' is not a"),
    ("echo e", "regex = 'f=(.*)'", "no value: standard output: nothing matches 'f=(.*)'"),
    ("true", "file = 'out'", "no value: cannot read out: No such file or directory"),
    ("echo a", "json = 'a'", "no value: standard output: not a JSON document: Expecting value"),
    ("echo '[1]'", "json = '0.b'", "no value: standard output: there is no 'b' of the JSON key 0"),
    ("echo NaN", "", "no value: standard output: the value is nan"),
    ("printf '[1%0400d]' 0", "json = '0'", "no value: standard output: an integer beyond"),
    ("echo '[true]'", "json = '0'", "no value: standard output: True is not a number"),
]


@pytest.mark.parametrize(("script", "value", "reason"), NO_VALUES)
def test_a_value_that_is_not_there_is_a_failure(
    make, script: str, value: str, reason: str
) -> None:
    assert _reason(make(f"{_shell(script)}[value]\n{value}\n")).startswith(reason)


def test_attributes(make, tmp_path: Path) -> None:
    program = make(
        _shell(
            "echo steps 12; echo t 1.5; echo solver cg; echo '{{\"a\": [1, null]}}' > r; echo 1"
        )
        + "[attributes]\nsteps.regex = 'steps (.*)'\nseconds.regex = 't (.*)'\n"
        "solver.regex = 'solver (.*)'\nall = { file = 'r', json = 'a' }\nmissing.regex = 'z(.*)'\n"
    )
    trial = _trial()
    program(trial)
    found = {k: v for k, v in trial.user_attrs.items() if k != "adbo:directory"}
    assert found == {"steps": 12, "seconds": 1.5, "solver": "cg", "all": [1, None]}
    assert isinstance(found["steps"], int)


REASONS = [
    (
        "echo a >&2; echo no mesh >&2; echo >&2; exit 3",
        "exit code 3; standard error ends with: a | no mesh",
    ),
    ("echo bad input; exit 3", "exit code 3; standard output ends with: bad input"),
    ("exit 9", "exit code 9"),
    ("kill -SEGV $$", "killed by SIGSEGV"),
    ("echo out of memory >&2; kill -KILL $$", "killed by SIGKILL; standard error ends with: out"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "reason"), REASONS)
def test_a_failure_says_why(make, script: str, reason: str) -> None:
    assert _reason(make(_shell(script))).startswith(reason)


def test_a_long_output_is_cut(make) -> None:
    reason = _reason(
        make(_shell("i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1"))
    )
    assert reason == "exit code 1; standard error ends with: line 2997 | line 2998 | line 2999"


def test_exit_codes(make) -> None:
    codes = "success_codes = [0, 4]\npruned_codes = [5]"
    y = '[parameters.y]\nkind = "int"\nlow = 0\nhigh = 9\n'
    program = make(_shell("echo 2; exit {y}", codes) + y)
    assert program(_trial(x=1.0, y=4)) == 2
    with pytest.raises(optuna.TrialPruned):
        program(_trial(x=1.0, y=5))
    assert _reason(program, _trial(x=1.0, y=6)).startswith("exit code 6")


def test_retries(make, tmp_path: Path) -> None:
    script = "cd {study.directory}; echo x >> count; echo 5; exit $((3 - $(wc -l < count)))"
    program = make(_shell(script, "retries = 2"))
    trial = _trial()
    assert program(trial) == 5
    assert trial.user_attrs == {"adbo:directory": str(tmp_path / "trials" / "trial-000000.2")}
    (tmp_path / "count").unlink()
    assert _reason(make(_shell(script, "retries = 1"))).startswith("exit code 1")


def test_the_time_limit_ends_all_processes(make, tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > inner; echo working >&2; wait"
    reason = _reason(make(_shell(script, "timeout = 0.5")))
    assert reason == "no result after 0.5 s; standard error ends with: working"
    inner = int((tmp_path / "trials" / "trial-000000" / "inner").read_text())
    _wait(lambda: not _is_alive(inner))


def test_a_program_that_ignores_sigterm_is_killed(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.2)
    script = 'trap "" TERM; echo $$ > self; while true; do sleep 0.1; done'
    assert _reason(make(_shell(script, "timeout = 0.5"))) == "no result after 0.5 s"
    number = int((tmp_path / "trials" / "trial-000000" / "self").read_text())
    _wait(lambda: not _is_alive(number))


def test_a_program_may_clean_up_at_sigterm(make, tmp_path: Path) -> None:
    script = 'trap "echo saved > checkpoint; exit 0" TERM; sleep 600 & wait'
    _reason(make(_shell(script, "timeout = 0.5")))
    assert (tmp_path / "trials" / "trial-000000" / "checkpoint").exists()


@pytest.mark.parametrize("command", ["sleep 600", "timeout 600 sleep 600"])
def test_what_a_program_leaves_running_is_killed(make, tmp_path: Path, command: str) -> None:
    # The command timeout makes a process group of its own.
    assert make(_shell(f"{command} & sleep 0.2; echo $! > inner; echo 1"))(_trial()) == 1
    inner = int((tmp_path / "trials" / "trial-000000" / "inner").read_text())
    _wait(lambda: not _is_alive(inner))


def test_an_abandoned_evaluation_ends_the_program_and_keeps_its_files(
    make, tmp_path: Path
) -> None:
    program = make(
        _shell("echo partial; echo $$ > self; sleep 600", 'keep = "failed"\nretries = 3')
    )
    written = tmp_path / "trials" / "trial-000000" / "self"

    def interrupt() -> None:
        _wait(lambda: written.exists() and written.read_text().endswith("\n"))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    with Interruption(None) as interruption:
        thread.start()
        with pytest.raises(EvaluationAbandoned):
            interruption.call(program, _trial())
    thread.join()
    _wait(lambda: not _is_alive(int(written.read_text())))
    assert _lines(written.with_name("stdout.txt")) == ["partial"]
    assert os.listdir(tmp_path / "trials") == ["trial-000000"]


RANK = """
import sys, adbo
from optuna.trial import FixedTrial
adbo.load_program(sys.argv[1])(FixedTrial({"x": 1.0}))
"""


def test_a_program_does_not_outlive_its_rank(make, tmp_path: Path) -> None:
    make(_shell("timeout 600 sleep 600 & sleep 0.2; echo $$ $! > pids; wait"))
    written = tmp_path / "trials" / "trial-000000" / "pids"
    rank = subprocess.Popen([sys.executable, "-c", RANK, str(tmp_path / "study.toml")])
    _wait(lambda: written.exists() and written.read_text().endswith("\n"))
    rank.kill()
    rank.wait()
    for number in written.read_text().split():
        _wait(lambda number=number: not _is_alive(int(number)))


def test_a_program_is_ended_if_the_interruption_comes_while_it_starts(
    make, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = make(_shell("exec sleep 600"))
    main_thread = threading.main_thread().ident or 0
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)
            if len(started) == 1:
                signal.pthread_kill(main_thread, signal.SIGTERM)
                _wait(lambda: interruption.reason is not None)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with Interruption(None) as interruption:  # noqa: SIM117 - the second is what is tested
        with pytest.raises(EvaluationAbandoned):
            interruption.call(program, _trial())
    _wait(lambda: not any(map(_is_alive, started)))


def _wait(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_files_of_the_rank_are_not_inherited(make, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        make(_shell("ls /proc/self/fd; echo 1"))(_trial())
    finally:
        os.close(reading)
        os.close(writing)
    inherited = _lines(tmp_path / "trials" / "trial-000000" / "stdout.txt")[:-1]
    assert str(writing) not in inherited


def test_the_members_of_a_group_leave_the_program_to_the_first_rank(make, tmp_path: Path) -> None:
    class Comm:
        rank = 1

    program = make(_shell("echo 1"))
    trial = _trial()
    trial.comm = Comm()
    program(trial)
    assert trial.params == {"x": 1.0}
    assert not (tmp_path / "trials").exists()


def test_it_is_an_objective(make, tmp_path: Path) -> None:
    program = make(_shell("echo {x}"))
    assert program.__name__ == "study"
    assert pickle.loads(pickle.dumps(program)) == program
    assert load(f"{tmp_path}/study.toml") == program
    study = adbo.optimize(program, n_trials=5, storage=None, seed=0)
    assert [trial.value for trial in study.trials] == [t.params["x"] for t in study.trials]
    assert study.study_name.startswith("study-")


def test_the_command_line(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make(_shell("echo {x}"))
    monkeypatch.chdir(tmp_path)
    for words in (["run"], ["simulate", "--workers", "2"]):
        options = ["--trials", "6", "--storage", "none"]
        assert main([words[0], "study.toml", *words[1:], *options]) == 0
        assert "6 complete" in capfd.readouterr().out
