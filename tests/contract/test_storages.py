"""Storages of Optuna other than databases: a journal file, memory, a proxy server."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import (
    BaseStorage,
    GrpcStorageProxy,
    InMemoryStorage,
    JournalStorage,
    get_storage,
    run_grpc_proxy_server,
)
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from servers import free_port

import adbo
from adbo.comm.in_process import SingleRank
from adbo.core.settings import Settings
from adbo.run.execute import Silence, execute


def _serve(url: str, port: int) -> None:
    run_grpc_proxy_server(get_storage(url), port=port)


class _Proxy:
    """A proxy server in a process of its own; gRPC does not survive a fork, hence spawn."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.port = free_port()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(self._url, self.port), daemon=True)
        self._process.start()
        self.client().wait_server_ready(60)

    def client(self) -> GrpcStorageProxy:
        return GrpcStorageProxy(port=self.port)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[_Proxy]:
    """A running proxy server."""
    proxy = _Proxy(f"sqlite:///{tmp_path}/s.db")
    proxy.start()
    yield proxy
    proxy.kill()


@pytest.fixture(params=["journal", "memory", "proxy"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], BaseStorage]:
    """Return a function that opens the same storage, as a new process would."""
    if request.param == "journal":
        return lambda: JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    if request.param == "memory":
        storage = InMemoryStorage()
        return lambda: storage
    proxy: _Proxy = request.getfixturevalue("proxy")
    return proxy.client


def _objective(trial: optuna.trial.BaseTrial) -> float:
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    trial.set_user_attr("residual", {"left": x, "right": [kind, None]})
    trial.report(x, 1)
    if x > 4:
        raise optuna.TrialPruned
    if x < -4:
        raise ArithmeticError("too small")
    return x**2 + (kind == "a")


def _trials(storage: BaseStorage) -> list[optuna.trial.FrozenTrial]:
    trials = optuna.load_study(study_name="s", storage=storage).get_trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    names = [(t.user_attrs.get("adbo:rank"), t.user_attrs.get("adbo:seq")) for t in trials]
    made_by_adbo = [name for name in names if name != (None, None)]
    assert len(set(made_by_adbo)) == len(made_by_adbo)
    assert all(t.state.is_finished() for t in trials)
    return trials


def test_all_evaluations_once_and_on(opened: Callable[[], BaseStorage]) -> None:
    study = adbo.optimize(_objective, 60, storage=opened(), study_name="s", seed=1)
    first = _trials(opened())
    assert len(first) == 60 == len(study.trials)
    assert {t.state for t in first} >= {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in first:
        x = trial.params["x"]
        assert trial.user_attrs["residual"] == {"left": x, "right": [trial.params["kind"], None]}
        assert trial.intermediate_values == {1: x}
    with pytest.raises(ValueError, match="already"):
        adbo.optimize(_objective, 61, storage=opened(), study_name="s")
    adbo.optimize(_objective, 90, storage=opened(), study_name="s", resume=True, seed=2)
    again = _trials(opened())
    assert len(again) == 90
    assert [t.params for t in again[:60]] == [t.params for t in first]
    assert [t.values for t in again[:60]] == [t.values for t in first]


def test_a_study_made_by_optuna_goes_on_and_back(opened: Callable[[], BaseStorage]) -> None:
    study = optuna.create_study(study_name="s", storage=opened(), direction="maximize")
    study.optimize(_objective, n_trials=15, catch=ArithmeticError)
    continued = {"study_name": "s", "direction": "maximize", "resume": True}
    adbo.optimize(_objective, 40, storage=opened(), **continued)
    trials = _trials(opened())
    assert len(trials) == 40
    assert [t.params for t in trials[:15]] == [t.params for t in study.trials[:15]]
    assert sum("adbo:rank" in t.user_attrs for t in trials) == 25
    study = optuna.load_study(study_name="s", storage=opened())
    study.optimize(_objective, n_trials=5, catch=ArithmeticError)
    assert len(_trials(opened())) == 45
    assert study.best_value == max(
        t.value for t in study.get_trials(states=(TrialState.COMPLETE,))
    )


def test_studies_that_were_merged(opened: Callable[[], BaseStorage]) -> None:
    """Their trials have the same names, and all of them count."""
    for seed, name in enumerate("ab"):
        adbo.optimize(_objective, 8, storage=opened(), study_name=name, seed=seed)
    merged = optuna.create_study(study_name="s", storage=opened())
    for name in "ab":
        merged.add_trials(optuna.load_study(study_name=name, storage=opened()).trials)
    adbo.optimize(_objective, 20, storage=opened(), study_name="s", resume=True, seed=3)
    assert len(merged.trials) == 20


def test_a_proxy_that_is_gone_for_a_while(proxy: _Proxy) -> None:
    lines: list[str] = []

    class Reporter(Silence):
        def say(self, text: str) -> None:
            lines.append(text)

    def objective(trial: optuna.trial.BaseTrial) -> float:
        if trial.number == 20:
            while not optuna.load_study(study_name="s", storage=proxy.client()).get_trials():
                time.sleep(0.05)  # until the mirror has written something
            proxy.kill()
        if trial.number == 30:
            deadline = time.monotonic() + 30
            while not lines:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            proxy.start()
        return _objective(trial)

    settings = Settings(n_trials=60, storage=proxy.client(), study_name="s", resume=True, seed=1)
    outcome = execute(objective, settings, SingleRank(), Reporter())
    assert outcome.n_unwritten == 0
    assert len(lines) == 2, lines
    assert "the run goes on" in lines[0]
    assert "RPC" not in lines[0]
    assert "takes evaluations again" in lines[1]
    assert len(_trials(proxy.client())) == 60


def test_a_proxy_that_is_not_there() -> None:
    storage = GrpcStorageProxy(port=free_port())
    with pytest.raises(ValueError, match=r"cannot use GrpcStorageProxy: .*onnect"):
        adbo.optimize(_objective, 10, storage=storage, study_name="s")


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    (tmp_path / "journal").unlink()
    (tmp_path / "journal").mkdir()
    with pytest.raises(ValueError, match=r"cannot use JournalStorage: .*directory"):
        adbo.optimize(_objective, 10, storage=storage, study_name="s")
