"""Files of evaluations that the database did not take."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from trial_strategies import evaluations

from adbo.core.evaluation import Evaluation, Layout
from adbo.core.job import SEQS_PER_JOB, job_of
from adbo.core.settings import Settings
from adbo.mirror import rescue
from adbo.mirror.settings import DEFAULTS


def _location(*directories: Path, name: str = "a study/1") -> rescue.Location:
    return rescue.Location(name, "sqlite:////s.db", directories)


@given(st.lists(evaluations(), max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, written) -> None:
    location = _location(tmp_path_factory.mktemp("rescue"))
    path = rescue.write(location, written)
    assert rescue.find(location) == [path]
    assert repr(rescue.read(path)) == repr(written)  # NaN is not itself


@given(st.lists(evaluations(), min_size=1, max_size=3))
def test_people_can_read_a_file(tmp_path_factory: pytest.TempPathFactory, written) -> None:
    path = rescue.write(_location(tmp_path_factory.mktemp("rescue")), written)
    header, *lines = map(json.loads, path.read_text().splitlines())
    assert header["study"] == "a study/1"
    for line, e in zip(lines, written, strict=True):
        assert line["state"] == e.state.name
        assert line["params"].keys() == e.params.keys()


def test_files_of_other_studies_are_left_alone(tmp_path: Path) -> None:
    location = _location(tmp_path)
    other = rescue.write(_location(tmp_path, name="a study_1"), [])
    mine = [rescue.write(location, []) for _ in range(3)]
    (tmp_path / "x.rescued.jsonl").write_text("no JSON\n")
    assert sorted(rescue.find(location)) == sorted(mine)
    assert other not in mine
    assert rescue.find(_location(tmp_path, name="another")) == []


def test_one_file_of_a_study_has_many_names(tmp_path: Path) -> None:
    """Also an earlier version, which did not follow links, may have written the first line."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    written = []
    for directory in ("real", "link", "real/../link"):
        of_study = rescue.location(Settings(1, storage=f"sqlite:///{tmp_path}/{directory}/s.db"))
        written.append(rescue.write(of_study, []))
        as_earlier = dataclasses.replace(
            of_study, storage=f"sqlite:///{tmp_path}/{directory}/s.db"
        )
        written.append(rescue.write(as_earlier, []))
        assert sorted(rescue.find(of_study)) == sorted(written)


def test_an_earlier_version_wrote_beside_a_link_to_the_sqlite_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "s.db").symlink_to(tmp_path / "data" / "s.db")
    of_study = rescue.location(Settings(1, storage=f"sqlite:///{tmp_path}/s.db"))
    earlier = dataclasses.replace(
        of_study, storage=f"sqlite:///{tmp_path}/s.db", directories=[tmp_path]
    )
    written = rescue.write(earlier, [])
    assert rescue.find(of_study) == [written]
    assert rescue.write(of_study, []).parent == tmp_path / "data"


def test_the_first_directory_that_can_be_written(tmp_path: Path) -> None:
    location = _location(tmp_path / "missing", tmp_path)
    assert rescue.write(location, []).parent == tmp_path
    with pytest.raises(rescue.RescueError, match="could not be written to a file either"):
        rescue.write(_location(tmp_path / "missing"), [])
    assert len(list(tmp_path.iterdir())) == 1


def test_there_may_be_no_home_and_no_directory_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> Path:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", lambda: fail(RuntimeError("no home directory")))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: fail(FileNotFoundError("none usable")))
    location = rescue.location(Settings(study_name="s", storage="postgresql://server/db"))
    assert location.directories == [tmp_path]
    monkeypatch.setattr(Path, "cwd", lambda: fail(FileNotFoundError("it was deleted")))
    location = rescue.location(Settings(study_name="s", storage="postgresql://server/db"))
    assert location.directories == []
    with pytest.raises(rescue.RescueError, match="to a file either: no directory"):
        rescue.write(location, [])


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    path = rescue.write(_location(tmp_path), [])
    path.write_text(path.read_text() + '{"rank": 0}\n')
    with pytest.raises(rescue.RescueError, match=f"cannot read {path}"):
        rescue.read(path)


def test_another_order_of_choices_is_the_same_evaluation() -> None:
    """The study may have the choices of an evaluation in another order than its file."""
    stored, rescued = (
        Evaluation(
            1,
            0,
            TrialState.COMPLETE,
            0.5,
            1.0,
            2.0,
            Layout.of({"k": CategoricalDistribution(k)}),
            i,
        )
        for k, i in ((["a", "b", "c"], (2.0,)), (["c", "a", "b"], (0.0,)))
    )
    assert rescue.with_unique_names([rescued], [stored]) == []
    other = dataclasses.replace(rescued, internal=(2.0,))
    assert rescue.with_unique_names([other], [stored]) != []


@given(st.integers(0, 5))
def test_names_that_were_used_again(n_others: int) -> None:
    """Earlier versions used names again if a study went on without its file."""
    layout = Layout({"x": FloatDistribution(0, 1)})
    mine = Evaluation(3, 2, TrialState.COMPLETE, 0.5, 1.0, 2.0, layout, (0.25,))
    assert rescue.with_unique_names([mine, mine], [mine]) == []
    others = [dataclasses.replace(mine, seq=2 + i, internal=(0.75,)) for i in range(n_others)]
    conflicting = enumerate([mine, *others[1:]])
    rescued = [dataclasses.replace(e, internal=(0.5,), started=10.0 * i) for i, e in conflicting]
    found = rescue.with_unique_names(rescued, others)
    assert [e.internal for e in found] == [(0.5,)] * len(rescued)
    assert len({(e.rank, e.seq) for e in [*others, *found]}) == len(others) + len(found)
    assert all(e == r or e.seq >= SEQS_PER_JOB // 2 for e, r in zip(found, rescued, strict=True))
    assert all(job_of(e.seq) == 0 for e in found)


def test_the_files_of_two_jobs_have_the_same_evaluations(tmp_path: Path) -> None:
    """Their names belong to others by now, since the study was begun anew."""
    layout = Layout({"x": FloatDistribution(0, 1)})
    old = [
        Evaluation(0, seq, TrialState.COMPLETE, 0.5, 10.0 * seq, 2.0, layout, (0.25,))
        for seq in range(4)
    ]
    new = [dataclasses.replace(e, started=e.started + 1000) for e in old]
    location = _location(tmp_path)
    for part in (old[:3], old[1:]):
        rescue.write(location, part)
    stored: list[Evaluation] = []

    class _Writer:
        def write(self, evaluations: list[Evaluation]) -> None:
            stored.extend(evaluations)

    assert rescue.last_job(location) == 0
    restored = rescue.restore(location, _Writer(), new, lambda text: None)
    assert restored == stored
    assert sorted(e.started for e in stored) == [e.started for e in old]
    assert len({(e.rank, e.seq) for e in [*new, *stored]}) == 8
    assert rescue.find(location) == []
    assert rescue.last_job(location) == -1


def test_two_jobs_restore_a_file_at_once(tmp_path: Path) -> None:
    """Both have read the study before; its jobs had the names of the file."""
    layout = Layout({"x": FloatDistribution(0, 1)})
    complete = TrialState.COMPLETE
    old = [Evaluation(r, 3, complete, 0.5, r, r, layout, (0.25,)) for r in (-1, 0, 1)]
    known = [dataclasses.replace(e, started=1000.0) for e in old]
    location = _location(tmp_path)
    stored: dict[tuple[int, int], Evaluation] = {}

    class _Writer:
        def write(self, evaluations: list[Evaluation]) -> None:
            stored.update(((e.rank, e.seq), e) for e in evaluations)

    for _ in range(2):
        rescue.write(location, old)
        rescue.restore(location, _Writer(), known, lambda text: None)
    assert len(stored) == len(old)
    assert not stored.keys() & {(e.rank, e.seq) for e in known}


def test_a_large_file_is_restored_in_batches(tmp_path: Path) -> None:
    """SQLite takes only so many ids in a statement, and other jobs wait for a transaction."""
    layout, n = Layout({}), 2500
    location = _location(tmp_path)
    complete = TrialState.COMPLETE
    rescue.write(location, [Evaluation(0, i, complete, 0.5, i, i, layout, ()) for i in range(n)])
    sizes: list[int] = []

    class _Writer:
        def write(self, evaluations: list[Evaluation]) -> None:
            sizes.append(len(evaluations))

    restored = rescue.restore(location, _Writer(), [], lambda text: None)
    assert [e.seq for e in restored] == list(range(n))
    assert sum(sizes) == n
    assert max(sizes) <= DEFAULTS.pace.batch
