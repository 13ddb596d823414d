"""``slurm/study.sbatch`` by itself, without Slurm: what it refuses, and what it does to files."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cluster import ROOT


def _run(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a launcher that does nothing."""
    (tmp_path / "sleeper.py").touch()
    good = {"SLURM_JOB_ID": "1", "OBJECTIVE": "sleeper.py:objective", "PYTHON": sys.executable}
    good |= {"LAUNCHER": "true", "NODE_DISK": str(tmp_path), "STUDY": "adbo"}
    return subprocess.run(
        ["bash", ROOT / "slurm" / "study.sbatch"],
        cwd=tmp_path,
        env={**os.environ, **good, **environment},
        capture_output=True,
        text=True,
        timeout=40,  # less than a pause between two copies
        check=False,
    )


#: Dies in the middle of a transaction that has reached the file.
KILLED_WRITER = """\
import os, sqlite3
database = sqlite3.connect("adbo.db")
database.execute("PRAGMA cache_size = 1")
database.execute("CREATE TABLE t (x)")
database.executemany("INSERT INTO t VALUES (?)", [("before" * 99,)] * 999)
database.commit()
database.execute("UPDATE t SET x = ?", ("after" * 99,))
os._exit(0)
"""


def test_a_journal_left_at_home(tmp_path: Path) -> None:
    """What a killed writer had not committed is undone before the file goes to the node."""
    subprocess.run([sys.executable, "-c", KILLED_WRITER], cwd=tmp_path, check=True)
    assert (tmp_path / "adbo.db-journal").stat().st_size > 0
    (tmp_path / "disk").mkdir()
    done = _run(tmp_path, NODE_DISK=str(tmp_path / "disk"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "adbo.db-journal").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "adbo.db")) as database:
        rows = database.execute("SELECT DISTINCT x FROM t").fetchall()
    assert rows == [("before" * 99,)]
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize(("newer", "rows"), [("disk/adbo-1", 2), ("adbo", 1)])
def test_what_a_job_left_on_the_node(tmp_path: Path, newer: str, rows: int) -> None:
    """A job that is queued again takes up what it had not copied home, unless home is newer."""
    (tmp_path / "disk").mkdir()
    for n, name in ((1, "adbo"), (2, "disk/adbo-1")):
        with contextlib.closing(sqlite3.connect(tmp_path / f"{name}.db")) as database:
            database.execute("CREATE TABLE t (x)")
            database.executemany("INSERT INTO t VALUES (?)", [(0,)] * n)
            database.commit()
        os.utime(tmp_path / f"{name}.db", times=(1e9 + (name == newer),) * 2)
    done = _run(tmp_path, NODE_DISK=str(tmp_path / "disk"))
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "adbo.db")) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (rows,)
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("OBJECTIVE", "nowhere.py:objective", "OBJECTIVE: there is no file nowhere.py in"),
        ("OBJECTIVE", "nowhere.toml", "OBJECTIVE: there is no file nowhere.toml in"),
        ("STUDY", "", "STUDY must be a name"),
        ("STUDY", "a/b", "STUDY must be a name"),
        ("STUDY", "a%20b", "/a%20b.db has a % or ?: use another STUDY or directory"),
        ("STUDY", "a?b", "/a?b.db has a % or ?"),
        ("LAUNCHER", "mpirun-nowhere -x", "LAUNCHER: there is no mpirun-nowhere"),
        ("LAUNCHER", " ", "LAUNCHER is empty"),
        ("LAUNCHER", "true --with-ft ulfm", "NODE_DISK: ranks that survive on other nodes"),
        ("PYTHON", "/bin/false", "PYTHON: /bin/false has no adbo"),
        ("NODE_DISK", "/nowhere", "NODE_DISK: cannot write to /nowhere"),
        ("STORAGE", "postgresql://host/db", "NODE_DISK: it is for the SQLite file"),
        ("SLURM_JOB_ID", "", "start it by sbatch"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, variable: str, value: str, complaint: str
) -> None:
    done = _run(tmp_path, **{variable: value})
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr


def test_a_file_is_back_only_if_there_was_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    assert _run(tmp_path, NODE_DISK=str(tmp_path / "disk")).stdout == ""
    with contextlib.closing(sqlite3.connect(tmp_path / "disk" / "adbo-1.db")) as database:
        database.execute("CREATE TABLE t (x)")
    done = _run(tmp_path, NODE_DISK=str(tmp_path / "disk"))
    assert done.stdout.endswith(f"adbo-1.db is back as {tmp_path}/adbo.db\n")


def test_a_directory_of_a_percent_sign(tmp_path: Path) -> None:
    """The file on the node's disk is in a URL, too; a URL that was given is left as it is."""
    place, disk = tmp_path / "run", tmp_path / "50%"
    place.mkdir()
    disk.mkdir()
    done = _run(place, NODE_DISK=str(disk))
    assert done.returncode == 2
    assert "50% or " in done.stderr
    given = _run(disk, NODE_DISK="", STORAGE="postgresql://host/db?sslmode=require")
    assert given.returncode == 0, given.stderr


def test_a_study_on_the_disk_of_another_job(tmp_path: Path) -> None:
    """A job does not begin while another one has the file; it does if that one has ended."""
    disk, bin_directory = tmp_path / "disk", tmp_path / "bin"
    disk.mkdir()
    bin_directory.mkdir()
    squeue = bin_directory / "squeue"
    squeue.write_text('#!/bin/sh\n[ "$3" = 7 ] && echo running\n')
    squeue.chmod(0o755)
    path = f"{bin_directory}:{os.environ['PATH']}"
    holder = tmp_path / "adbo.db-job"
    for node_disk in (str(disk), ""):
        holder.write_text("7\n")
        done = _run(tmp_path, PATH=path, NODE_DISK=node_disk)
        assert done.returncode == 2
        assert "job 7 has adbo.db" in done.stderr
        holder.write_text("6\n")
        assert _run(tmp_path, PATH=path, NODE_DISK=node_disk).returncode == 0
        assert not holder.exists()


def test_the_scripts_are_sound() -> None:
    program = Path(sysconfig.get_path("scripts")) / "shellcheck"
    names = ("study.sbatch", "array.sbatch", "ackley_scaling.sh")
    scripts = [str(ROOT / "slurm" / name) for name in names]
    done = subprocess.run([program, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
