"""Methods to store finished trials in a database, for `storage_throughput.py`.

Each function ``..._rate`` measures the trials per second of one method.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import optuna
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, GrpcStorageProxy, run_grpc_proxy_server
from optuna.storages._grpc.client import GrpcClientCacheEntry
from optuna.trial import TrialState

from adbo.core.evaluation import Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.optuna_trials import ENQUEUED, trial_of
from adbo.mirror.bulk_insert import insert
from adbo.mirror.mirror import Mirror
from adbo.mirror.schema import TRIALS, locked
from adbo.mirror.study import writer_for

#: Name of the study in each database.
STUDY = "throughput"

LAYOUT = Layout({f"x{i}": FloatDistribution(-5, 5) for i in range(5)})

#: Evaluations per second that the mirror must be able to write: one of each of 4,096 ranks.
WANTED = 4096

#: Number of ranks that the evaluations come from.
RANKS = WANTED

#: Evaluations per batch that the mirror writes.
BATCH = 1000

#: Processes per gRPC proxy.
PER_PROXY = 10

#: Seconds after which a process that does not start or end is an error.
PATIENCE = 120


class Evaluations:
    """Creates evaluations as ranks send them, each with a new identity."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._n = 0

    def make(self, number: int) -> list[Evaluation]:
        """Return this number of new evaluations."""
        points = self._rng.uniform(-5, 5, (number, len(LAYOUT.names))).tolist()
        first, self._n = self._n, self._n + number
        now = time.time()
        return [
            Evaluation(
                i % RANKS,
                i // RANKS,
                TrialState.COMPLETE,
                sum(x * x for x in point),
                now - 1,
                now,
                LAYOUT,
                tuple(point),
                Extras({"residual": point[0], "iterations": i, "converged": True}),
            )
            for i, point in enumerate(points, first)
        ]


def objective(trial: optuna.trial.BaseTrial) -> float:
    """Return the value of a trial with the parameters and attributes of `Evaluations`."""
    point = [trial.suggest_float(name, -5, 5) for name in LAYOUT.names]
    trial.set_user_attr("residual", point[0])
    trial.set_user_attr("iterations", trial.number)
    trial.set_user_attr("converged", True)
    return sum(x * x for x in point)


@contextlib.contextmanager
def mirrored(study: optuna.Study, first: Sequence[Evaluation]) -> Iterator[tuple[History, Mirror]]:
    """Yield a history and a running mirror that has written the first evaluations."""
    history = History()
    history.extend(map(to_batch, first))
    mirror = Mirror(
        writer_for(study),
        lambda cursor: history.evaluations(cursor, cursor + BATCH),
        report=lambda line: print(line, file=sys.stderr),
    )
    mirror.start()
    while mirror.unwritten():
        time.sleep(0.05)
    yield history, mirror


def adbo_rate(study: optuna.Study, evaluations: Evaluations, number: int) -> float:
    """Return the evaluations per second of the mirror when it never waits for evaluations."""
    with mirrored(study, evaluations.make(10)) as (history, mirror):
        batches = [to_batch(e) for e in evaluations.make(number)]
        history.extend(batches)
        start = time.perf_counter()
        assert not mirror.flush_and_close(lambda: PATIENCE)
        return number / (time.perf_counter() - start)


def running_first_rate(study: optuna.Study, evaluations: Evaluations, total: int) -> float:
    """Return the evaluations per second if each batch is first inserted as RUNNING."""
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    writer = writer_for(study)
    writer.write(evaluations.make(10))
    number = len(study.get_trials(deepcopy=False))
    batches = [evaluations.make(min(total, BATCH)) for _ in range(-(-total // BATCH))]
    start = time.perf_counter()
    for batch in batches:
        with locked(engine, study._study_id) as connection:
            own = (TRIALS.c.study_id == study._study_id) & (TRIALS.c.number >= number)
            rows = [(number + i, study._study_id, "RUNNING") for i in range(len(batch))]
            insert(connection, TRIALS, ("number", "study_id", "state"), rows)
            ids = sorted(connection.scalars(sa.select(TRIALS.c.trial_id).where(own)))
        number += len(batch)
        writer.write(
            [
                replace(e, extras=Extras(e.extras.user_attrs, {ENQUEUED: trial_id}))
                for trial_id, e in zip(ids, batch, strict=True)
            ]
        )
    return sum(map(len, batches)) / (time.perf_counter() - start)


def seconds_behind(study: optuna.Study, evaluations: Evaluations, seconds: float) -> float:
    """Return the seconds that the mirror is behind after evaluations at the wanted rate."""
    with mirrored(study, evaluations.make(10)) as (history, mirror):
        batches = [to_batch(e) for e in evaluations.make(int(seconds * WANTED))]
        start = time.perf_counter()
        while (done := time.perf_counter() - start) < seconds:
            history.extend(batches[len(history) - 10 : int(done * WANTED)])
            time.sleep(0.05)
        history.extend(batches[len(history) - 10 :])
        start = time.perf_counter()
        assert not mirror.flush_and_close(lambda: PATIENCE)
        return time.perf_counter() - start


def add_trials_rate(study: optuna.Study, evaluations: Evaluations, seconds: float) -> float:
    """Return the trials per second of `optuna.Study.add_trials`."""
    trials = [trial_of(e) for e in evaluations.make(20)]
    number, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        study.add_trials(trials)
        number += len(trials)
    return number / passed


def optimize_rate(storages: Sequence[Callable[[], BaseStorage]], seconds: float) -> float:
    """Return the trials per second of `optuna.Study.optimize` in one process per storage."""
    fork = multiprocessing.get_context("fork")
    begin, found = fork.Barrier(len(storages)), fork.SimpleQueue()

    def work(make: Callable[[], BaseStorage]) -> None:
        sampler = optuna.samplers.RandomSampler(seed=random.SystemRandom().getrandbits(32))
        study = optuna.load_study(study_name=STUDY, storage=make(), sampler=sampler)
        study.get_trials(deepcopy=False)
        number = 0

        def count(*_: object) -> None:
            nonlocal number
            number += 1

        begin.wait(PATIENCE)
        start = time.perf_counter()
        study.optimize(objective, timeout=seconds, callbacks=[count])
        found.put(number / (time.perf_counter() - start))

    workers = [fork.Process(target=work, args=(make,), daemon=True) for make in storages]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
        if worker.exitcode != 0:
            raise RuntimeError("a process of Optuna failed")
    return sum(found.get() for _ in workers)


def reopened(storage: BaseStorage) -> BaseStorage:
    """Return the storage for use in a forked process: its cache of the study, new connections."""
    storage._backend.engine.dispose(close=False)  # type: ignore[attr-defined]
    return storage


@contextlib.contextmanager
def proxies(storage: BaseStorage, workers: int) -> Iterator[list[Callable[[], BaseStorage]]]:
    """Start the proxies; yield a function for each worker that connects to its proxy."""
    fork = multiprocessing.get_context("fork")
    ports = [_free_port() for _ in range(-(-workers // PER_PROXY))]
    servers = [
        fork.Process(
            target=lambda port: run_grpc_proxy_server(reopened(storage), port=port),
            args=(port,),
            daemon=True,
        )
        for port in ports
    ]
    for server in servers:
        server.start()
    try:
        yield [partial(_proxy, storage, ports[i // PER_PROXY]) for i in range(workers)]
    finally:
        for server in servers:
            server.kill()
            server.join()


def _proxy(storage: BaseStorage, port: int) -> BaseStorage:
    """Return a client whose cache has the study, so that it does not read all trials first."""
    proxy = GrpcStorageProxy(host="localhost", port=port)
    proxy.wait_server_ready(PATIENCE)
    known = storage._studies[storage.get_study_id_from_name(STUDY)]  # type: ignore[attr-defined]
    entry = GrpcClientCacheEntry()
    entry.trials = dict(known.trials)
    entry.unfinished_trial_ids = set(known.unfinished_trial_ids)
    entry.last_finished_trial_id = known.last_finished_trial_id
    proxy._cache.studies[proxy.get_study_id_from_name(STUDY)] = entry
    return proxy


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
