"""A study file: what a program as the objective is, read from TOML and checked.

Everything that can be checked is checked here, before anything runs, and without importing numpy
or Optuna.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adbo.core.errors import UsageError
from adbo.objective.program.command import Argument, read_command
from adbo.objective.program.input_files import InputFile, read_input_files, read_links
from adbo.objective.program.parameters import Parameter, read_parameters
from adbo.objective.program.placeholders import Text
from adbo.objective.program.reports import ReportPattern, read_reports
from adbo.objective.program.table import Table, is_integer
from adbo.objective.program.texts import Texts
from adbo.objective.program.value import Extraction, read_extraction

_KEYS = (
    *("parameters", "command", "stdin", "files", "links", "environment", "unset"),
    *("directory", "keep", "timeout", "retries", "success_codes", "pruned_codes"),
    *("value", "reports", "attributes"),
)

#: The trials' directories of a study file are in this directory beside it.
_DIRECTORY = "trials"


@dataclass(frozen=True)
class StudyFile:
    """A study file.

    Parameters
    ----------
    path
        The absolute path of the file.
    parameters
        By name, each after those on which it depends.
    command
        The program and its arguments.
    stdin
        The file in the trial's directory that is the standard input, or None.
    files
        Files that are filled in for each trial.
    links
        Files and directories to which each trial's directory has a link.
    environment
        Variables that are set for the program.
    unset
        Patterns of the names of variables that are removed.
    directory
        Where the trials' directories are made.
    keep
        ``"all"`` directories, or those of ``"failed"`` trials only.
    timeout
        Time limit of the program in seconds, or None.
    retries
        How often a failed program is run again.
    success_codes, pruned_codes
        Exit codes that mean success, and that mean a pruned trial.
    value
        Where the value is found.
    reports
        Where intermediate values are found while the program runs, or None.
    attributes
        Where user attributes are found, by name.
    """

    path: Path
    parameters: Mapping[str, Parameter]
    command: tuple[Argument, ...]
    stdin: str | None
    files: tuple[InputFile, ...]
    links: tuple[Path, ...]
    environment: Mapping[str, Text]
    unset: tuple[str, ...]
    directory: Path
    keep: str
    timeout: float | None
    retries: int
    success_codes: frozenset[int]
    pruned_codes: frozenset[int]
    value: Extraction
    reports: ReportPattern | None
    attributes: Mapping[str, Extraction]


def read_study_file(name: str) -> StudyFile:
    """Return the content of a study file.

    Raises
    ------
    UsageError
        If there is no such file or anything in it is wrong. The message begins with the file and
        the place in it.
    """
    path = Path(os.path.abspath(name))
    top = Table(_load(name), name)
    top.check_keys(_KEYS)
    parameters = read_parameters(top.table("parameters"))
    texts = Texts(parameters)
    files = read_input_files(top.table("files"), path.parent, texts)
    links = read_links(top, path.parent, {file.target for file in files})
    made = {file.target for file in files} | {link.name for link in links}
    environment = _environment(top.table("environment"), texts)
    attributes = top.table("attributes")
    for key in attributes.data:
        if key.startswith("adbo:"):
            attributes.fail(key, "names that begin with adbo: belong to adbo")
    success_codes = _codes(top, "success_codes", (0,))
    pruned_codes = _codes(top, "pruned_codes", ())
    if success_codes & pruned_codes:
        top.fail("pruned_codes", f"{min(success_codes & pruned_codes)} means success")
    return StudyFile(
        path=path,
        parameters=parameters,
        command=read_command(top, path.parent, made, texts, "PATH" in environment),
        stdin=_stdin(top, made),
        files=files,
        links=links,
        environment=environment,
        unset=tuple(top.texts("unset")),
        directory=_directory(top, path.parent),
        keep=top.word("keep", ("all", "failed"), "all"),
        timeout=_timeout(top),
        retries=_retries(top),
        success_codes=success_codes,
        pruned_codes=pruned_codes,
        value=read_extraction(top.table("value")),
        reports=read_reports(top),
        attributes={key: read_extraction(table) for key, table in attributes.tables()},
    )


def _load(name: str) -> dict[str, object]:
    try:
        with open(name, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise UsageError(f"no file {name!r}") from None
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is not text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: {error}") from None


def _environment(table: Table, texts: Texts) -> dict[str, Text]:
    for name in table.data:
        if not name or "=" in name or "\0" in name:
            table.fail(name, "this cannot be the name of an environment variable")
    return {name: texts.parse(table, name) for name in table.data}


def _stdin(top: Table, made: set[str]) -> str | None:
    stdin = top.text("stdin")
    if stdin is not None and stdin not in made:
        top.fail("stdin", f"{stdin} must be one of the trial's files: see files and links")
    return stdin


def _directory(top: Table, base: Path) -> Path:
    text = top.text("directory", _DIRECTORY) or _DIRECTORY
    expanded = os.path.expandvars(os.path.expanduser(text))
    if "$" in expanded:
        top.fail("directory", f"{expanded} has a variable that is not set")
    path = base / expanded
    existing = _existing(path, top)
    if not existing.is_dir():
        top.fail("directory", f"{existing} is not a directory")
    if not os.access(existing, os.W_OK):
        top.fail("directory", f"cannot write {existing}: permission denied")
    return path


def _existing(path: Path, top: Table) -> Path:
    """Return the path, or the nearest directory above it that exists."""
    for place in (path, *path.parents):
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # such as a name that is too long
            top.fail("directory", f"cannot use {path}: {error.strerror}")
        return place
    raise AssertionError("the root of the file system exists")


def _timeout(top: Table) -> float | None:
    timeout = top.number("timeout")
    if timeout is not None and timeout <= 0:
        top.fail("timeout", f"is {timeout}: it must be a positive number of seconds")
    return timeout


def _retries(top: Table) -> int:
    retries = top.integer("retries") or 0
    if retries < 0:
        top.fail("retries", f"is {retries}: it must not be negative")
    if retries and "reports" in top.data:
        # Optuna keeps what the failed attempt reported: the trial would be judged by it.
        top.fail(
            "retries", f"cannot be used with [reports]: leave it out, and use --retries {retries}"
        )
    return retries


def _codes(top: Table, key: str, default: tuple[int, ...]) -> frozenset[int]:
    codes = top.data.get(key, default)
    if not isinstance(codes, (list, tuple)) or not all(
        is_integer(code) and 0 <= code <= 255 for code in codes
    ):
        top.fail(key, "must be a list of exit codes from 0 to 255")
    return frozenset(codes)
