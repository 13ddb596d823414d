"""Errors of storages become one line, and trouble that may pass is told from refusals."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from stored import read_evaluations

from adbo.core.evaluation import Evaluation, Layout
from adbo.core.optuna_trials import ENQUEUED
from adbo.mirror.queue import StudyQueue
from adbo.mirror.storage_errors import DatabaseError, RefusedError, translated
from adbo.mirror.study import StudyError, accessed, enter
from adbo.mirror.trial_writer import TrialWriter

EVALUATION = Evaluation(0, 0, TrialState.COMPLETE, 1.0, 0.0, 1.0, Layout({}), ())


class _ProxyError(Exception):
    """An error like those of gRPC: a text of many lines, with the message in ``details``."""

    def __str__(self) -> str:
        return "<RPC that terminated with:\n\tstatus = UNAVAILABLE\n>"

    def details(self) -> str:
        return "failed to connect\nto all addresses"


class _Storage(InMemoryStorage):
    """A storage that raises `error`, if there is one, after `n_good` more accesses."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.n_good = 0

    def _access(self) -> None:
        self.n_good -= 1
        if self.error is not None and self.n_good < 0:
            raise self.error

    def get_all_trials(self, *arguments, **options):
        self._access()
        return super().get_all_trials(*arguments, **options)

    def get_trial(self, *arguments):
        self._access()
        return super().get_trial(*arguments)

    def set_trial_system_attr(self, *arguments):
        self._access()
        return super().set_trial_system_attr(*arguments)


@pytest.fixture
def study() -> optuna.Study:
    study = optuna.create_study(storage=_Storage())
    study.ask()
    return study


@pytest.mark.parametrize(
    "use",
    [
        lambda study: TrialWriter(study).write([EVALUATION]),
        lambda study: StudyQueue(study, 0).take([0]),
        lambda study: StudyQueue(study, 0).take_lost([0], ()),
        lambda study: StudyQueue(study, 0).give_back(),
    ],
    ids=["write", "take", "take_lost", "give_back"],
)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_ProxyError(), DatabaseError("failed to connect to all addresses")),
        (ConnectionError(), DatabaseError("ConnectionError")),
        (ValueError("not\nserializable"), RefusedError("not serializable")),
        (OverflowError("too large"), RefusedError("too large")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_any_storage(
    study: optuna.Study, use: Callable, error: Exception, expected: Exception
) -> None:
    study._storage.error = error
    with pytest.raises(type(expected)) as caught:
        use(study)
    assert str(caught.value) == str(expected)
    study._storage.error = None
    use(study)


@pytest.mark.parametrize("use", [read_evaluations, enter])
def test_errors_at_the_start(study: optuna.Study, use: Callable) -> None:
    study._storage.error = _ProxyError()
    expected = pytest.raises(StudyError, match="cannot read the study: failed to connect to all")
    with expected, accessed("read"):
        use(study)


def test_trials_taken_before_an_error_are_returned_later(study: optuna.Study) -> None:
    """Otherwise nobody would evaluate them: they do not wait any more."""
    for x in (1.0, 2.0, 3.0):
        study.enqueue_trial({"x": x})
    queue, ids = StudyQueue(study, 7), range(1, 4)
    study._storage.error, study._storage.n_good = ConnectionError("gone"), 5
    with pytest.raises(DatabaseError, match="gone"):
        queue.take(ids)
    study._storage.error = None
    assert [trial.fixed["x"] for trial in queue.take(ids)] == [1.0, 2.0, 3.0]
    assert all(t.system_attrs[ENQUEUED] == [t._trial_id, 7] for t in study.get_trials()[1:])
    assert queue.take(ids) == []


@pytest.fixture
def engine() -> sa.Engine:
    return sa.create_engine("sqlite://")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sa.exc.OperationalError("SELECT", {"x": "secret"}, OSError("gone\naway")), DatabaseError),
        (sa.exc.IntegrityError("SELECT", {"x": "secret"}, OSError("gone\naway")), RefusedError),
        (OverflowError("gone away"), RefusedError),
        (KeyError("a bug"), KeyError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_statements_of_adbo(engine: sa.Engine, error: Exception, kind: type) -> None:
    """A bug is not taken for trouble of the database, since it would not pass."""
    with pytest.raises(kind) as caught, translated(engine):
        raise error
    assert kind is KeyError or str(caught.value) == "gone away"


def test_errors_that_only_the_driver_knows(engine: sa.Engine) -> None:
    driver = engine.dialect.loaded_dbapi
    with pytest.raises(DatabaseError, match=r"^gone$"), translated(engine):
        raise driver.OperationalError("gone")
    with pytest.raises(RefusedError, match=r"^too big$"), translated(engine):
        raise driver.DataError("too big")


def test_a_message_has_no_password() -> None:
    engine = sa.create_engine("mysql+pymysql://user:geheim@host/data")
    with (
        pytest.raises(DatabaseError, match=r"^no access for user with \*\*\*$"),
        translated(engine),
    ):
        raise engine.dialect.loaded_dbapi.OperationalError("no access for user with\ngeheim")
