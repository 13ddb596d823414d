"""Opening studies; errors are one line without a password."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import optuna
import pytest
from stored import read_evaluations

from adbo.mirror.connection import StudyError, storage_name
from adbo.mirror.study import load_study, open_study


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
    with pytest.raises(StudyError, match="continue it with --resume, or choose another"):
        open_study(url, "s", "maximize", resume=False)
    assert read_evaluations(open_study(url, "s", "maximize", resume=True)) == []
    with pytest.raises(StudyError, match="has direction maximize, not minimize"):
        open_study(url, "s", "minimize", resume=True)


def test_several_directions_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    optuna.create_study(storage=url, study_name="s", directions=["minimize", "maximize"])
    with pytest.raises(StudyError, match="direction minimize, maximize, not minimize"):
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
