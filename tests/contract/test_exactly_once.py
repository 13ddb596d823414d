"""Every evaluation is stored once, whatever fails at whatever moment."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from faults import Counter, Relay, interposed, killed_at, losing
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_trials import evaluations
from servers import Server, mariadb, postgresql
from stored import read_evaluations

from adbo.core.evaluation import Evaluation
from adbo.mirror.mirror import Mirror, Writer
from adbo.mirror.settings import Pace
from adbo.mirror.storage_errors import DatabaseError
from adbo.mirror.study import open_study, writer_for

PACE = Pace(batch=20, interval=0.01, first_pause=0.01, longest_pause=0.2)


def _check(study: optuna.Study, wanted: Sequence[Evaluation], others: int = 0) -> None:
    """Check that the study has each evaluation once, no other of adbo, and dense numbers."""
    study = optuna.load_study(study_name=study.study_name, storage=study._storage._backend.url)
    trials = study.get_trials(deepcopy=False)
    assert [t.number for t in trials] == list(range(len(trials)))
    assert len(trials) == len(wanted) + others
    found = [(e.rank, e.seq, e.params) for e in read_evaluations(study) if e.rank >= 0]
    key = lambda named: named[:2]  # noqa: E731
    assert sorted(found, key=key) == sorted(((e.rank, e.seq, e.params) for e in wanted), key=key)


def _engine(study: optuna.Study) -> sa.Engine:
    return study._storage._backend.engine


names = (f"study-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('shared')}/s.db"


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.lists(st.integers(0, 120), max_size=6),
    st.booleans(),
)
def test_any_crash_points(
    shared_url: str, sizes: list[int], points: list[int], is_replaced: bool
) -> None:
    """The connection is lost before or after any statements or commits.

    Then the same writer goes on, or a new one that does not know what is stored.
    """
    study = open_study(shared_url, next(names), "minimize", resume=False)
    source = evaluations(sum(sizes))
    writer: Writer | None = writer_for(study)
    cursor = 0
    with interposed(_engine(study), losing(_engine(study), *points)):
        for size in sizes:
            while True:
                try:
                    writer = writer or writer_for(study)
                    writer.write(source[cursor : cursor + size])
                    break
                except DatabaseError:
                    if is_replaced:
                        writer = None
            cursor += size
    _check(study, source)


def test_a_process_killed_between_any_two_statements(url: str) -> None:
    source = evaluations(60)
    study = open_study(url, "counted", "minimize", resume=False)
    counter = Counter()
    with interposed(_engine(study), counter):
        writer_for(study).write(source[:10])
    assert counter.number > 10
    _engine(study).dispose()  # a child process must not inherit open connections
    study = open_study(url, "s", "minimize", resume=False)
    _engine(study).dispose()
    for point in range(counter.number):
        # Batches overlap: each process also writes what the one before it did not confirm.
        batch = source[point : point + 10]

        def work(strike: Callable[[int], None], batch: Sequence[Evaluation] = batch) -> None:
            own = open_study(url, "s", "minimize", resume=True)
            with interposed(_engine(own), strike):
                writer_for(own).write(batch)

        assert killed_at(point, work)
    n = counter.number + 9
    writer_for(study).write(source[:n])
    _check(study, source[:n])


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    relay = Relay(server.new_database())
    yield relay
    relay.close()


@pytest.mark.parametrize("answer_is_lost", [False, True])
def test_a_connection_cut_at_any_request(relay: Relay, answer_is_lost: bool) -> None:
    study = open_study(relay.url, "s", "minimize", resume=False)
    writer = writer_for(study)
    source = evaluations(200)
    writer.write(source[:10])
    relay.cut(10**6, answer_is_lost)
    writer.write(source[10:20])
    n_requests = relay.requests
    assert n_requests > 8
    cuts = 0
    for request in range(n_requests):
        batch = source[20 + 5 * request : 25 + 5 * request]
        relay.cut(request, answer_is_lost)
        try:
            writer.write(batch)
        except DatabaseError:
            cuts += 1
            writer.write(batch)
    relay.cut(-1, answer_is_lost)
    assert cuts > n_requests // 2  # if a ping of the pool is cut, the writer does not notice
    _check(study, source[: 20 + 5 * n_requests])


class _Run:
    """A run that appends evaluations while its mirror copies them."""

    def __init__(self, study: optuna.Study, number: int, seconds: float) -> None:
        self.source = evaluations(number)
        self.lines: list[str] = []
        self.n_attempts = 0
        self._writer = writer_for(study)
        self._appended = 0
        self._pause = seconds / number
        self._mirror = Mirror(
            self,
            lambda cursor: self.source[cursor : self._appended],
            report=self.lines.append,
            pace=PACE,
        )
        self._thread = threading.Thread(target=self._append)

    def _append(self) -> None:
        while self._appended < len(self.source):
            self._appended += 1
            time.sleep(self._pause)

    def start(self) -> None:
        self._mirror.start()
        self._thread.start()

    def end(self) -> list[Evaluation]:
        self._thread.join()
        return self._mirror.flush_and_close(lambda: 30)

    def write(self, batch: Sequence[Evaluation]) -> None:
        """Write as the mirror's writer does, and count the attempts."""
        self.n_attempts += 1
        self._writer.write(batch)

    def wait_for(self, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not is_so():
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.01)

    def wait_for_line(self, text: str) -> None:
        self.wait_for(lambda: any(text in line for line in self.lines))


def test_a_server_that_crashes_and_comes_back(server: Server) -> None:
    study = open_study(server.new_database(), "s", "minimize", resume=False)
    run = _Run(study, 600, seconds=1.5)
    run.start()
    run.wait_for(lambda: read_evaluations(study))
    server.kill()
    try:
        run.wait_for_line("does not take evaluations")
        n_attempts = run.n_attempts
        run.wait_for(lambda: run.n_attempts > n_attempts + 2)
    finally:
        server.start()
    assert run.end() == [], run.lines
    # One line when the failures began, one when they ended, for any number of attempts.
    assert len(run.lines) == 2
    assert "the run goes on" in run.lines[0]
    assert "takes evaluations again" in run.lines[1]
    _check(study, run.source)


def test_a_server_that_lost_what_it_had_confirmed(tmp_path: Path) -> None:
    """A server does so after a crash if it does not wait for its disk."""
    study = open_study(f"sqlite:///{tmp_path}/s.db", "s", "minimize", resume=False)
    path, earlier = tmp_path / "s.db", tmp_path / "earlier.db"
    source = evaluations(90)
    n_shown = 30
    lines: list[str] = []
    writer = writer_for(study)
    mirror = Mirror(writer, lambda cursor: source[cursor:n_shown], report=lines.append, pace=PACE)
    mirror.start()

    def wait_for(number: int) -> None:
        deadline = time.monotonic() + 30
        while len(read_evaluations(study)) < number:
            assert time.monotonic() < deadline, lines
            time.sleep(0.01)

    wait_for(30)
    shutil.copy(path, earlier)
    n_shown = 60
    wait_for(60)
    with interposed(_engine(study), losing(_engine(study), *range(30))):
        n_shown = 90
        while not lines:
            time.sleep(0.01)
        _engine(study).dispose()
        shutil.copy(earlier, path)
    assert mirror.flush_and_close(lambda: 30) == []
    _check(study, source)


def test_a_full_disk(tmp_path: Path) -> None:
    """The database file cannot grow until a limit is lifted."""
    url = f"sqlite:///{tmp_path}/s.db"
    study = open_study(url, "s", "minimize", resume=False)
    engine = _engine(study)
    is_full = True

    def limit(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        limit = pages if is_full else 1 << 30
        connection.exec_driver_sql(f"PRAGMA max_page_count = {limit}")

    sa.event.listen(engine, "begin", limit)
    run = _Run(study, 400, seconds=0.3)
    run.start()
    run.wait_for_line("database or disk is full")
    is_full = False
    assert run.end() == []
    assert len(run.lines) == 2
    _check(study, run.source)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Return a directory on a small disk of its own."""
    path = Path(tempfile.mkdtemp(prefix="adbo-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    path.rmdir()


def _database_on(disk: Path, server: Server) -> str:
    """Return the URL of a database whose files are on a disk."""
    if server.url.get_backend_name() == "postgresql":
        place = disk / "tablespace"
        place.mkdir()
        shutil.chown(disk, "postgres")
        shutil.chown(place, "postgres")
        server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        return server.new_database("TABLESPACE small")
    url = server.new_database()
    shutil.chown(disk, "mysql")
    data = Path(server.execute("SELECT @@datadir"))
    place = data / str(sa.make_url(url).database)
    shutil.move(place, disk / "data")
    shutil.chown(disk / "data", "mysql")
    place.symlink_to(disk / "data")
    return url


@pytest.mark.parametrize("make_server", [postgresql, mariadb])
def test_a_full_disk_of_a_server(make_server: Callable, small_disk: Path) -> None:
    # A server of this test alone, since it could not start again after the disk is unmounted.
    with make_server() as server:
        _fill_and_free(_database_on(small_disk, server), small_disk)


def _fill_and_free(url: str, small_disk: Path) -> None:
    study = open_study(url, "s", "minimize", resume=False)
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    run = _Run(study, 2000, seconds=0.3)
    run.start()
    run.wait_for_line("does not take evaluations")
    assert "space" in run.lines[0] or "full" in run.lines[0], run.lines
    ballast.unlink()
    assert run.end() == [], run.lines
    assert len(run.lines) == 2
    _check(study, run.source)


def test_other_programs_write_at_the_same_time(url: str) -> None:
    study = open_study(url, "s", "minimize", resume=False)
    over = threading.Event()
    both_connected = threading.Barrier(3, timeout=60)
    counts = [0, 0]

    def optimize(worker: int) -> None:
        """Write trials by Optuna on a connection of its own, as another process would."""
        own = optuna.load_study(study_name="s", storage=optuna.storages.RDBStorage(url))
        both_connected.wait()
        while counts[worker] < 3 or not over.is_set():
            own.optimize(lambda trial: trial.suggest_float("float", -5, 5), n_trials=1)
            counts[worker] += 1

    workers = [threading.Thread(target=optimize, args=(worker,)) for worker in range(2)]
    for worker in workers:
        worker.start()
    run = _Run(study, 400, seconds=2)
    both_connected.wait()
    run.start()
    unwritten = run.end()
    over.set()
    for worker in workers:
        worker.join()
    assert unwritten == []
    assert min(counts) >= 3  # an error would have ended the thread of a worker
    _check(study, run.source, others=sum(counts))
