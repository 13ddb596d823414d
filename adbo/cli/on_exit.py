"""The command of ``--on-exit``, which runs once when a run has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adbo.cli.output import print_error, write_json
from adbo.core.errors import signal_name
from adbo.core.launcher_environment import without_launcher
from adbo.core.summary import Summary
from adbo.interruption.programs import signal_session
from adbo.interruption.stopping import StopReason

#: Seconds that the command may take; after a signal, or at the time limit of the batch job, whose
#: end follows soon, it may take `_HURRIED_SECONDS`.
_SECONDS, _HURRIED_SECONDS = 60.0, 10.0


@dataclass(frozen=True)
class OnExit:
    """A shell command to run at the end, in the directory in which adbo was started.

    Parameters
    ----------
    command
        The command; None for no command.
    """

    command: str | None
    _directory: Path = field(default_factory=Path.cwd)

    def run(
        self, summary: Summary, json: Path | None = None, reason: StopReason | None = None
    ) -> None:
        """Run the command and wait for it; report in one line if it fails.

        Parameters
        ----------
        summary
            The summary of the run.
        json
            The file to which it has been written; None if it has not.
        reason
            Why the run stopped early, if it did.
        """
        if self.command is None:
            return
        is_hurried = reason is not None and (reason.is_signal or reason is StopReason.WALLTIME)
        seconds = _HURRIED_SECONDS if is_hurried else _SECONDS
        try:
            with (
                _file(summary)
                if json is None
                else contextlib.nullcontext(self._directory / json) as path
            ):
                failure = _run(self.command, self._directory, environment(summary, path), seconds)
        except OSError as error:
            failure = f"cannot be run: {error}"
        except KeyboardInterrupt:
            failure = "was ended by Ctrl-C"
        if failure is not None:
            print_error(f"the command of --on-exit {failure}")


@contextlib.contextmanager
def _file(summary: Summary) -> Iterator[Path]:
    """Write the summary to a temporary file; if there is no room for one, it is an empty file."""
    with contextlib.ExitStack() as stack:
        path = Path(os.devnull)
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="adbo-", suffix=".json"))
        except OSError as error:
            print_error(f"cannot write a summary for --on-exit: {error.strerror or error}")
        else:
            path = Path(file.name)
            write_json(path, summary.to_json())
        yield path


def environment(
    summary: Summary, path: Path, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of the command: this one without a launcher's, and ``ADBO_...``.

    Characters that the encoding of the locale lacks are escapes, such as ``\\xf6``.
    """
    told = {
        "ADBO_SUMMARY": str(path),
        "ADBO_STATUS": str(summary.status),
        "ADBO_REASON": summary.reason or "",
        "ADBO_STUDY_NAME": summary.study_name,
        "ADBO_STORAGE": summary.storage,
    }
    return {**without_launcher(environ), **{name: _in_locale(text) for name, text in told.items()}}


def _in_locale(text: str) -> str:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _run(command: str, directory: Path, env: Mapping[str, str], seconds: float) -> str | None:
    """Run a command; return how it failed, or None. Kill it if it takes too long."""
    process = subprocess.Popen(
        command,
        shell=True,
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # so that all its processes can be killed
    )
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"was killed after {seconds:g} s"
    except BaseException:
        _kill(process)
        raise
    if status < 0:
        return f"was ended by {signal_name(-status)}"
    return f"ended with status {status}" if status else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    signal_session(process.pid, signal.SIGKILL)
    process.wait()
