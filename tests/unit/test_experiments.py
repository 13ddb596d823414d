"""The experiments run, say what they found, and do not repeat what is done."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


def _run(cwd: Path, script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "experiments" / script), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "file"),
    [
        pytest.param(
            "ask_cost.py",
            ["--methods", "adbo", "tpe", "--dimensions", "3", "--sizes", "200", "--rounds", "3"],
            "ask_cost.csv",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_tables(tmp_path: Path, script: str, arguments: list[str], file: str) -> None:
    first = _run(tmp_path, script, *arguments)
    rows = pd.read_csv(tmp_path / file)
    assert {"adbo", "tpe"} <= set(rows["method"])
    assert (rows.iloc[:, -1].dropna() > 0).all()
    written = (tmp_path / file).read_bytes()
    assert _run(tmp_path, script, *arguments) == first
    assert (tmp_path / file).read_bytes() == written


def test_compare(tmp_path: Path) -> None:
    arguments = [
        *("--problems", "sphere:2", "mixed", "failing:noisy:sphere:2", "--seeds", "1"),
        *("--methods", "adbo", "tpe", "random", "cobyqa", "--workers", "4"),
        *("--evaluations", "60", "--output", "o"),
    ]
    out = _run(tmp_path, "compare.py", *arguments)
    rows = pd.concat([pd.read_csv(path) for path in (tmp_path / "o").glob("*.csv")])
    assert rows.groupby("method").size().to_dict() == {"adbo": 3, "random": 3, "tpe": 3}
    assert (rows["regret_50"] > 0).all()
    assert (rows["regret"] > 0).all()
    assert rows["regret_100"].isna().all()
    assert "3 runs on 3 problems" in out
    written = (tmp_path / "o" / "adbo.csv").read_bytes()
    assert _run(tmp_path, "compare.py", *arguments) == out
    assert (tmp_path / "o" / "adbo.csv").read_bytes() == written
    # Of a method that is not installed, the runs in the folder are compared.
    stored = rows[rows["method"] == "random"].assign(method="turbo", version="turbo 0.0.1")
    stored.to_csv(tmp_path / "o" / "turbo.csv", index=False)
    assert "turbo" not in out
    assert "turbo" in _run(tmp_path, "compare.py", *arguments, "--methods", "adbo", "turbo")


def test_ablation(tmp_path: Path) -> None:
    arguments = [
        *("--variants", "default", "kappa 0", "without local", "--problems", "sphere:2"),
        *("--seeds", "1", "--workers", "4", "--evaluations", "60", "--output", "results"),
    ]
    out = _run(tmp_path, "ablation.py", *arguments)
    assert "kappa 0" in out
    regrets = pd.read_csv(tmp_path / "results" / "ablation.csv")["regret"]
    assert regrets.nunique() == 3
    assert (tmp_path / "results" / "ablation.png").stat().st_size > 1000


def test_a_constant_is_halved_and_doubled_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    constants = importlib.import_module("constants")
    defaults = constants.constants()
    for name, default in defaults.items():
        for factor in (0.5, 2.0):
            value = constants.scaled(name, default, factor)
            assert value != default
            settings = constants.with_constant(name, value)
            monkeypatch.setattr(constants, "DEFAULT_SETTINGS", settings)
            assert constants.constants() == {**defaults, name: value}
            monkeypatch.undo()
    ends = constants.scaled("a.step_exponents", (-1.0, 2.0), 10.0)
    assert ends == pytest.approx((0.0, 3.0))


def test_every_constant_is_documented_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    constants = importlib.import_module("constants").constants()
    lines = (ROOT / "experiments" / "DEFAULTS.md").read_text().splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    documented = {name.strip(" `"): default.strip() for name, default in rows}
    assert {name: str(default) for name, default in constants.items()}.items() <= (
        documented.items()
    )
    assert f"{len(constants)} constants" in "\n".join(lines)


def test_strategy_shares(tmp_path: Path) -> None:
    arguments = ["--kinds", "mixed", "noisy", "--workers", "4", "--evaluations", "40"]
    out = _run(tmp_path, "strategy_shares.py", *arguments, "--seeds", "1")
    rows = pd.read_csv(tmp_path / "strategy_shares" / "strategy_shares.csv")
    sums = rows.groupby(["problem", "seed"])[["asks", "improvements"]].sum()
    assert (abs(sums - 1) < 1e-5).all(axis=None)
    assert [line.split(" | ")[0] for line in out.splitlines()[2:]] == ["| mixed", "| noisy"]
    # Another seed is added; the other runs are not repeated.
    _run(tmp_path, "strategy_shares.py", *arguments, "--seeds", "1", "2")
    again = pd.read_csv(tmp_path / "strategy_shares" / "strategy_shares.csv")
    pd.testing.assert_frame_equal(again[: len(rows)], rows)
    assert sorted(again["seed"].unique()) == [1, 2]


def test_every_case_can_be_made_and_is_not_below_its_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    cases = importlib.import_module("cases")
    names = [*cases.MIXED, "noisy:sphere:5", "failing:ackley:5", "stretched:rotated:rastrigin:5"]
    for name, seed in itertools.product(names, range(3)):
        case = cases.make_case(name, seed)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        regrets = [case.regret(study.ask()) for _ in range(50)]
        assert min(regrets) >= 0
        assert {n for trial in study.trials for n in trial.params} <= set(case.space)


@pytest.mark.slow
def test_several(tmp_path: Path) -> None:
    methods = ["adbo", "adbo-penalty", "adbo-limits", "random"]
    words = ["--problems", "zdt1", "piston_lever", "--evaluations", "40", "--seeds", "0"]
    words += ["--methods", *methods]
    out = _run(tmp_path, "several.py", *words)
    assert "piston_lever" in out
    table = pd.read_csv(tmp_path / "several" / "several.csv")
    of_zdt1, of_lever = ["adbo", "adbo-limits", "random"], ["adbo", "adbo-penalty", "random"]
    assert table["method"].tolist() == [*of_zdt1, *of_lever]
    assert _run(tmp_path, "several.py", *words) == out  # nothing is repeated
    assert len(pd.read_csv(tmp_path / "several" / "several.csv")) == len(table)


def test_diversity(tmp_path: Path) -> None:
    out = _run(tmp_path, "diversity.py", "--ranks", "60", "--evaluations", "30", "100")
    table = pd.read_csv(tmp_path / "diversity" / "diversity.csv")
    assert dict(table["evaluations"].value_counts()) == {30: 60, 100: 60, 0: 60}
    assert (table["nearest"] > 0).all()
    assert "incumbent" in out
    assert (tmp_path / "diversity" / "diversity.png").exists()


@pytest.mark.slow
def test_scaling(tmp_path: Path) -> None:
    arguments = ["--workers", "4", "8", "--seeds", "1", "--seconds", "400", "--output", "results"]
    out = _run(tmp_path, "ackley_scaling.py", *arguments)
    assert "utilization" in out
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*.csv")}
    assert len(files) >= 2
    assert len(list((tmp_path / "results").glob("*.png"))) >= 2
    # Another size is added; the others are not simulated again.
    _run(tmp_path, "ackley_scaling.py", *arguments, "--workers", "4", "8", "2")
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*.csv")}
    assert len(again) > len(files)
    assert files.items() <= again.items()


def test_simulated_jobs(tmp_path: Path) -> None:
    arguments = ["--workers", "4", "--jobs", "1", "4", "--seeds", "1", "--duration", "constant:1"]
    arguments += ["--times", "4.5", "8.5"]
    out = _run(tmp_path, "simulated_jobs.py", *arguments)
    rows = pd.read_csv(tmp_path / "simulated_jobs.csv")
    assert list(rows["jobs"]) == [1, 1, 4, 4]
    assert list(rows["evaluations"]) == [16, 32] * 2
    assert list(rows["utilization"]) == pytest.approx([4 / 4.5, 8 / 8.5] * 2)
    assert (rows["regret"] > 0).all()
    assert _run(tmp_path, "simulated_jobs.py", *arguments) == out
    assert len(pd.read_csv(tmp_path / "simulated_jobs.csv")) == len(rows)


def test_optuna_examples(tmp_path: Path) -> None:
    for file, line in (
        ("basic/quadratic.py", "trial.suggest_float('x', 0, 1)"),
        ("faq/max_trials_callback.py", "1.0"),
        ("basic/pruning.py", "1 / 0 if trial.number == 2 else 1.0"),
    ):
        path = tmp_path / "checkout" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def objective(trial):\n    return {line}\n")
    arguments = ["checkout", "--ways", "optuna", "adbo", "--files"]
    good = ["basic/quadratic.py", "faq/max_trials_callback.py"]
    out = _run(tmp_path, "optuna_examples.py", *arguments, *good)
    rows = pd.read_csv(tmp_path / "optuna_examples.csv")
    assert list(rows["way"]) == ["optuna", "adbo"] * 2
    assert list(rows["complete"]) == [4] * 4  # a callback ends the second file at four
    assert list(rows["pruned"] + rows["failed"]) == [0] * 4
    assert _run(tmp_path, "optuna_examples.py", *arguments, *good) == out
    with pytest.raises(AssertionError, match="trial 2 failed: ZeroDivisionError"):
        _run(tmp_path, "optuna_examples.py", *arguments, "basic/pruning.py")


def test_trial_cost(tmp_path: Path) -> None:
    arguments = ["--trials", "20", "--rounds"]
    out = _run(tmp_path, "trial_cost.py", *arguments, "1")
    assert "isolation adds" in out
    rows = pd.read_csv(tmp_path / "trial_cost.csv")
    assert rows["what"].nunique() == len(rows) == 10
    assert (rows["figure"] > 0).all()
    _run(tmp_path, "trial_cost.py", *arguments, "2")
    again = pd.read_csv(tmp_path / "trial_cost.csv")
    pd.testing.assert_frame_equal(again[:10], rows)
    assert len(again) == 20


@pytest.mark.slow
def test_replicated_tpe(tmp_path: Path) -> None:
    arguments = ["--processes", "2", "--trials", "10", "--seeds", "0", "--seconds", "0"]
    out = _run(tmp_path, "replicated_tpe.py", *arguments)
    rows = pd.read_csv(tmp_path / "replicated_tpe" / "replicated_tpe.csv")
    assert list(rows["trials"]) == [10, 20] * 2
    assert set(rows["storage"]) == {"adbo", "sqlite"}
    assert (rows["seconds"] > 0).all()
    assert (tmp_path / "replicated_tpe" / "replicated_tpe.png").exists()
    assert _run(tmp_path, "replicated_tpe.py", *arguments) == out


@pytest.mark.database
def test_grpc_proxy(tmp_path: Path) -> None:
    sizes = ["--workers", "2", "--trials", "8", "--evaluation-seconds", "0.05"]
    out = _run(tmp_path, "grpc_proxy.py", *sizes)
    rows = pd.read_csv(tmp_path / "grpc_proxy" / "grpc_proxy.csv")
    assert list(rows["way"]) == ["database", "proxy", "adbo"]
    assert rows["trials"].between(8, 10).all()
    assert rows["share"].between(0.001, 1).all()
    assert _run(tmp_path, "grpc_proxy.py", *sizes) == out


@pytest.mark.slow
def test_jobs(tmp_path: Path) -> None:
    arguments = ["--databases", "sqlite", "--problems", "mixed", "--processes", "2"]
    arguments += ["--jobs", "1", "2", "--moments", "1", "3", "--output", "o"]
    out = _run(tmp_path, "jobs.py", *arguments, "--seeds", "0")
    assert "1 job of 2 ranks" in out
    rows = pd.read_csv(tmp_path / "o" / "jobs.csv")
    assert list(zip(rows["method"], rows["jobs"], strict=True)) == [
        ("adbo", 1),
        ("adbo", 2),
        ("tpe", 2),
    ]
    assert (rows["stored"] == rows["made"]).all()
    assert (rows["best_3"] <= rows["best_1"].fillna(math.inf)).all()
    assert rows["evaluations"].between(1, 2 * 3 / 0.4).all()
    assert rows["utilization"].between(0, 1, inclusive="neither").all()
    assert (rows[["writes_per_second", "reads_per_second"]] > 0).all(axis=None)
    curves = pd.read_csv(tmp_path / "o" / "best.csv")
    assert set(curves["seconds"]) == {0.5, 1, 1.5, 2, 2.5, 3}
    assert (tmp_path / "o" / "jobs.png").exists()
    # Another seed is added; the other runs are not repeated.
    _run(tmp_path, "jobs.py", *arguments, "--seeds", "0", "1")
    again = pd.read_csv(tmp_path / "o" / "jobs.csv")
    pd.testing.assert_frame_equal(again[: len(rows)], rows)
    assert list(again["seed"]) == [0] * 3 + [1] * 3


def test_a_process_that_fails_ends_its_run_and_names_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    processes = importlib.import_module("processes")
    waiting, failing = "import time; time.sleep(600)", "import sys; sys.exit('no database')"
    with processes.Processes(tmp_path) as started:
        for program in (waiting, failing):
            started.start([sys.executable, "-c", program])
        with pytest.raises(processes.ProcessesFailed, match="no database"):
            started.open_gate("ready", 2)
    assert all(process.poll() is not None for process in started.processes)


@pytest.mark.slow
def test_storage_throughput(tmp_path: Path) -> None:
    arguments = ["--url", "sqlite:///s.db", "--sizes", "50", "200", "--processes", "1", "2"]
    few = ["--evaluations", "300", "--sustained", "0.2", "--seconds", "0.2", "--output", "o"]
    out = _run(tmp_path, "storage_throughput.py", *arguments, *few)
    rows = pd.read_csv(tmp_path / "o" / "storage_throughput.csv")
    ways = {"adbo", "RUNNING first", "add_trials", "optimize 2", "proxy 2", "seconds to resume"}
    for size in (50, 200):
        assert ways <= set(rows["way"][rows["trials"] == size])
    assert ways <= set(out.replace(" (", "\n").replace("  ", "\n").split("\n"))
    assert (rows["figure"] > 0).all()
    rate = rows[rows["trials"] == 50].set_index("way")["figure"]
    assert f"({rate['adbo'] / rate['add_trials']:.0f}x)" in out
    assert (tmp_path / "o" / "storage_throughput.png").exists()


@pytest.mark.parametrize(
    ("mistake", "complaint"),
    [
        (["--duration", "constnt:20"], "must be one of"),
        (["--problems", "foo"], "no test function"),
        (["--problems", "ackley:0"], "ackley"),
    ],
)
def test_a_mistake_leaves_no_folder(
    tmp_path: Path,
    mistake: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    scaling = importlib.import_module("ackley_scaling")
    assert scaling.main([*mistake, "--workers", "4", "--output", str(tmp_path / "results")]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_parts_in_which_nothing_finishes_are_done_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    scaling = importlib.import_module("ackley_scaling")
    arguments = ["--workers", "4", "--seconds", "10", "--seeds", "1", "--duration", "constant:60"]
    for _ in range(2):
        assert scaling.main([*arguments, "--output", str(tmp_path)]) == 0
        assert "nothing to draw" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "adbo_ackley-5_4_1.csv")["evaluations"].item() == 0


def test_trajectories_depend_on_nothing_but_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    trajectories = importlib.import_module("trajectories")
    for case in trajectories.CASES.values():
        first, second, other = (
            trajectories.trajectory(*case, seed, asks=40)[0] for seed in (0, 0, 1)
        )
        assert first == second != other


def test_the_cost_of_pruning(tmp_path: Path) -> None:
    out = _run(tmp_path, "pruning_cost.py", "--seconds", "3", "--interval", "0.005")
    measured = json.loads(out)
    assert min(measured["COMPLETE"], measured["PRUNED"]) > 0
    assert 0 < measured["report_ms"] < 100
    assert 0 < measured["reports"] < 1
