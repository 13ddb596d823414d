"""Opening studies; errors are one line without a password."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from stored import read_evaluations

import adbo
from adbo.core.settings import default_study_name
from adbo.mirror.connection import StudyError, storage_name
from adbo.mirror.mirror import StudyGoneError
from adbo.mirror.study import load_study, open_study, reopen_study


def _poll(url: str, path: Path, all_started, over) -> None:
    """Load the study again and again, as a dashboard does that waits for the database."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    all_started.wait()
    while not over.is_set():
        if path.exists():
            try:
                optuna.load_study(study_name="s", storage=url)
            except Exception:  # it does not exist yet
                continue


@pytest.mark.parametrize("attempt", range(3))
def test_others_may_create_the_tables_at_the_same_time(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / "s.db"
    url = f"sqlite:///{path}"
    context = multiprocessing.get_context("spawn")
    all_started, over = context.Barrier(3), context.Event()
    arguments = (url, path, all_started, over)
    pollers = [context.Process(target=_poll, args=arguments) for _ in range(2)]
    for poller in pollers:
        poller.start()
    all_started.wait(60)
    try:
        assert open_study(url, "s", "minimize", resume=False).study_name == "s"
    finally:
        over.set()
        for poller in pollers:
            poller.join()


def test_an_existing_study_needs_resume(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    open_study(url, "s", "maximize", resume=True)  # a missing one is created
    with pytest.raises(StudyError, match="choose another --study-name, or continue it with"):
        open_study(url, "s", "maximize", resume=False)
    assert read_evaluations(open_study(url, "s", "maximize", resume=True)) == []
    with pytest.raises(StudyError, match="has direction maximize, not minimize"):
        open_study(url, "s", "minimize", resume=True)


def test_several_directions_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    optuna.create_study(storage=url, study_name="s", directions=["minimize", "maximize"])
    with pytest.raises(StudyError, match="directions minimize, maximize, not minimize"):
        open_study(url, "s", "minimize", resume=True)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite:////no/such/directory/s.db", "unable to open database file"),
        ("oracel://u:secret@host/d", "no such kind of database"),
        ("nonsense", "nonsense is not a database URL"),
        ("postgresql://u:secret@127.0.0.1:1/d", "postgresql://u:***@127.0.0.1:1/d: connection"),
        ("mysql://u:secret@127.0.0.1:1/d", "Can't connect to MySQL server"),
        ("postgresql+nothing://u:secret@h/d", "no such kind of database"),
    ],
)
def test_a_storage_that_cannot_be_used(url: str, complaint: str) -> None:
    with pytest.raises(StudyError) as caught:
        open_study(url, "s", "minimize", resume=False)
    text = str(caught.value)
    assert complaint in text
    assert "secret" not in text
    assert "\n" not in text


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("not a database, but a text of some length\n" * 50)
    with pytest.raises(StudyError, match="file is not a database"):
        open_study(f"sqlite:///{tmp_path}/s.db", "s", "minimize", resume=False)


def test_loading(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    with pytest.raises(StudyError, match="there is no file"):
        load_study(url, None)
    assert not (tmp_path / "s.db").exists()
    open_study(url, "first", "minimize", resume=False)
    open_study(url, "second", "minimize", resume=False)
    assert load_study(url, None).study_name == "second"
    assert load_study(url, "first").study_name == "first"
    with pytest.raises(StudyError, match=r"no study 'third' in .*: the latest is 'second'"):
        load_study(url, "third")


def test_a_study_that_is_gone_is_told_from_a_file_that_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    open_study(url, "first", "minimize", resume=False)
    with pytest.raises(StudyGoneError, match="there is no study 'second'"):
        reopen_study(url, "second", "minimize")
    (tmp_path / "s.db").unlink()
    with pytest.raises(StudyGoneError, match="there is no file"):
        reopen_study(url, "first", "minimize")
    assert not (tmp_path / "s.db").exists()


@pytest.mark.parametrize(
    ("storage", "name"),
    [
        ("mysql://u:secret@host:3306/d", "mysql://u:***@host:3306/d"),
        ("u:secret@host", "host"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        (optuna.storages.InMemoryStorage(), "InMemoryStorage"),
    ],
)
def test_names_of_storages_contain_no_password(storage, name: str) -> None:
    assert storage_name(storage) == name


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    "url",
    [
        *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:"),
        *("sqlite:///?timeout=3", "sqlite:///file::memory:?uri=true", "sqlite:///file:?uri=true"),
        "sqlite:///file:name?mode=memory&cache=shared&uri=true",
    ],
)
def test_a_database_in_memory_is_refused(url: str, resume: bool) -> None:
    with pytest.raises(StudyError, match=r"is a database in memory, .* use --storage none"):
        open_study(url, "s", "minimize", resume)
    with pytest.raises(StudyError, match="use --storage none"):
        load_study(url, None)


def test_a_storage_object_whose_memory_each_thread_has_for_itself_is_refused() -> None:
    storage = optuna.storages.RDBStorage("sqlite:///:memory:")
    with pytest.raises(StudyError, match="in Python storage=None"):
        adbo.optimize(lambda _: 0.0, n_trials=3, storage=storage)


@pytest.mark.parametrize(
    ("url", "engine_kwargs"),
    [
        (
            "sqlite:///:memory:",
            {"poolclass": sa.pool.StaticPool, "connect_args": {"check_same_thread": False}},
        ),
        ("sqlite:///file:shared?mode=memory&cache=shared&uri=true", {}),
    ],
)
def test_a_storage_object_whose_memory_all_threads_share(url: str, engine_kwargs: dict) -> None:
    storage = optuna.storages.RDBStorage(url, engine_kwargs=engine_kwargs)
    study = adbo.optimize(lambda _: 0.0, n_trials=3, storage=storage)
    assert len(study.trials) == 3


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.db", "a.db"),
        (":memory:.db", ":memory:.db"),
        ("file:a.db", "file:a.db"),
        ("file:a.db?uri=true", "a.db"),
    ],
)
def test_a_file_with_an_odd_name_is_a_database(
    path: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{path}"
    adbo.optimize(lambda _: 0.0, n_trials=3, storage=url, study_name="s")
    assert [found.name for found in tmp_path.iterdir()] == [name]
    assert len(load_study(url, "s").trials) == 3


def test_default_names_of_one_second_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "20260311-142530")
    names = {default_study_name("f") for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch("f-20260311-142530-[0-9a-f]{8}", name) for name in names)
