"""The progress of a run or a simulation while it goes on: a live line, and single lines."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState
from tqdm import tqdm

from adbo.core.history import History
from adbo.core.settings import Settings
from adbo.core.streams import write
from adbo.report.colour import green_until_comma, is_coloured
from adbo.report.text import fail_reason
from adbo.report.watched import has_width

#: Seconds between two updates of the live line.
_INTERVAL = 0.25

#: Seconds between two lines that say how far a run is, where there is no live line. They show in
#: the output file of a job that it is alive.
_LINE_INTERVAL = 60.0

#: Columns of the live line where the width of the terminal is unknown, as under a launcher.
_WIDTH = 100

#: A context of what is written by tqdm: a stream that is gone is no reason to end a run.
_IF_POSSIBLE = contextlib.suppress(OSError, ValueError)

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt}{postfix}"
_BAR_WITHOUT_END = "{n_fmt}{postfix}"


class WatchedRun(Protocol):
    """A run that goes on, as far as it is shown."""

    @property
    def history(self) -> History:
        """All evaluations that this rank knows."""

    @property
    def settings(self) -> Settings:
        """The choices of the run."""

    @property
    def n_ranks(self) -> int:
        """Number of ranks."""

    @property
    def n_before(self) -> int:
        """Number of evaluations that the study had at the start of the run."""

    @property
    def n_other_jobs(self) -> int:
        """Number of jobs that were running on the study already."""

    @property
    def started(self) -> float:
        """Start of the run in seconds since the epoch."""

    def own(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return which evaluations from `first` to `last` are of this job, not of other ones."""


class Quiet:
    """The reporter that prints only messages."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, run: WatchedRun) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Print one line."""
        write(f"adbo: {text}", self._stream)

    def end(self) -> None:
        """Do nothing."""


class Terminal:
    """The reporter that shows the progress of a run, and prints messages.

    Parameters
    ----------
    stream
        Where to write.
    live
        Whether to show a line that is rewritten a few times a second; otherwise a line is printed
        every `line_seconds`.
    line_seconds
        Seconds between two lines.
    """

    def __init__(
        self, stream: TextIO, *, live: bool, line_seconds: float = _LINE_INTERVAL
    ) -> None:
        self._stream = stream
        self._live = live
        self._line_seconds = line_seconds
        self._is_coloured = live and is_coloured(stream)
        self._bar: tqdm[Any] | None = None
        self._run: WatchedRun | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="adbo-reporter", daemon=True)

    def begin(self, run: WatchedRun) -> None:
        """Show the live line from now on, and report the first failure of the objective."""
        self._run = run
        settings = run.settings
        if settings.resume:
            self.say(_joining(run.n_other_jobs, run.n_before))
        if settings.walltime is not None:
            end = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(settings.walltime))
            self.say(f"ends at {end} at the latest, before the time limit of the Slurm job")
        elif not settings.has_end:
            self.say("neither trials nor timeout is given: running until Ctrl-C or SIGTERM")
        if self._live:
            n_trials = run.settings.n_trials
            self._bar = tqdm(
                total=n_trials,
                initial=min(run.n_before, n_trials or run.n_before),
                file=self._stream,
                bar_format=_BAR_WITHOUT_END if n_trials is None else _BAR,
                dynamic_ncols=has_width(self._stream),
                ncols=None if has_width(self._stream) else _WIDTH,
                unit=" trials",
            )
        self._thread.start()

    def say(self, text: str) -> None:
        """Print one line."""
        if self._bar is None:
            write(f"adbo: {text}", self._stream)
            return
        with _IF_POSSIBLE:
            tqdm.write(f"adbo: {text}", file=self._stream)

    def end(self) -> None:
        """Show the last state, and close the live line."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._bar is not None:
            with _IF_POSSIBLE:
                self._bar.close()
            self._bar = None

    def _refresh(self) -> None:
        assert self._run is not None
        meter = Meter(self._run)
        failure_reported = False
        next_line = time.monotonic() + self._line_seconds
        while True:
            over = self._over.wait(_INTERVAL)
            failure = meter.update()
            if failure is not None and not failure_reported:
                failure_reported = True
                self.say(f"an evaluation failed ({failure}); the run goes on")
            if self._bar is not None:
                with _IF_POSSIBLE:
                    self._show(self._bar, meter.text(time.time()))
            elif not over and time.monotonic() >= next_line:
                next_line += self._line_seconds
                self.say(_line(self._run, meter.text(time.time())))
            if over:
                return

    def _show(self, bar: tqdm[Any], text: str) -> None:
        """Update the live line."""
        assert self._run is not None
        n = len(self._run.history)
        bar.n = n if bar.total is None else min(n, bar.total)
        if self._is_coloured and self._run.history.best is not None:
            text = green_until_comma(text)
        bar.set_postfix_str(text, refresh=False)
        bar.refresh()


def _line(run: WatchedRun, text: str) -> str:
    """Return a line that says how far a run is, at what time."""
    n, total = len(run.history), run.settings.n_trials
    of = "" if total is None else f" of {total:,}"
    return f"{time.strftime('%H:%M:%S')}  {n:,}{of} trials, {text}"


class Meter:
    """Computes the figures of the live line from the history, reading each row once."""

    def __init__(self, run: WatchedRun) -> None:
        self._run = run
        self._cursor = run.n_before
        self._busy = 0.0
        self._n_own = 0
        self._last = np.full(run.n_ranks, run.started)

    def update(self) -> str | None:
        """Read the new rows; return why the first failed one among them failed, if any did."""
        history, first, last = self._run.history, self._cursor, len(self._run.history)
        self._cursor = last
        own = first + np.flatnonzero(self._run.own(first, last))
        self._n_own += len(own)
        started, finished = history.column("started")[own], history.column("finished")[own]
        self._busy += float((finished - started).sum())
        np.maximum.at(self._last, history.column("rank")[own], finished)
        failed = own[history.column("state")[own] == TrialState.FAIL.value]
        if not failed.size:
            return None
        return fail_reason(history.evaluation(int(failed[0])).extras.user_attrs)

    @property
    def utilization(self) -> float:
        """Fraction of the time until the last result of each rank that was spent evaluating."""
        spent = float((self._last - self._run.started).sum())
        return self._busy / spent if spent > 0 else 0.0

    def text(self, now: float) -> str:
        """Return best value, rate, utilization and time left."""
        run, history = self._run, self._run.history
        seconds = max(now - run.started, 1e-9)
        rate = (len(history) - run.n_before) / seconds
        parts = []
        if history.n_objectives > 1:
            parts.append(f"front {len(history.front.rows)}")
        elif history.best is not None:
            parts.append(f"best {history.column('value')[history.best]:.6g}")
        parts.append(f"{rate:.3g}/s")
        n_others = self._cursor - run.n_before - self._n_own
        if n_others:
            parts.append(f"{n_others} by others")
        parts.append(f"utilization {self.utilization:.0%}")
        left = _seconds_left(run, rate, seconds)
        if left is not None:
            parts.append(f"{tqdm.format_interval(max(left, 0.0))} left")
        return ", ".join(parts)


def _joining(n_jobs: int, n_trials: int) -> str:
    """Return the first line of a run that may continue a study."""
    so_far = f"{n_trials:,} trials so far"
    if n_jobs:
        return f"joins a running study: {n_jobs} other job{'s' if n_jobs > 1 else ''}, {so_far}"
    return f"continues a study: {so_far}" if n_trials else "begins a new study"


def _seconds_left(run: WatchedRun, rate: float, seconds: float) -> float | None:
    limits = []
    if run.settings.timeout is not None:
        limits.append(run.settings.timeout - seconds)
    if run.settings.walltime is not None:
        limits.append(run.settings.walltime - run.started - seconds)
    if run.settings.n_trials is not None and rate > 0:
        limits.append((run.settings.n_trials - len(run.history)) / rate)
    return min(limits, default=None)


class SimulationBar:
    """The progress of a simulation, with the time left.

    Parameters
    ----------
    live
        Whether a person watches it; otherwise a line is printed every minute.
    quiet
        Whether to print nothing.
    """

    def __init__(self, *, live: bool, quiet: bool = False) -> None:
        self._live = live
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None
        self._next_line = time.monotonic() + _LINE_INTERVAL

    def __enter__(self) -> SimulationBar:
        return self

    def update(self, fraction: float, best: float | None) -> None:
        """Show the fraction done and the best value so far, None if there is none."""
        if self._quiet:
            return
        if not self._live:
            self._print(fraction, best)
            return
        with _IF_POSSIBLE:
            self._show(fraction, best)

    def _show(self, fraction: float, best: float | None) -> None:
        """Update the live line."""
        if self._bar is None:
            # Not earlier: a simulation may fork at its start, and the bar has a thread.
            self._bar = tqdm(total=1.0, bar_format="{l_bar}{bar}| {remaining} left{postfix}")
        self._bar.update(min(fraction, 1.0) - self._bar.n)
        if best is not None:
            self._bar.set_postfix_str(f"best {best:.6g}", refresh=False)

    def _print(self, fraction: float, best: float | None) -> None:
        """Print a line, if a minute is over."""
        if time.monotonic() < self._next_line:
            return
        self._next_line += _LINE_INTERVAL
        value = "" if best is None else f", best {best:.6g}"
        write(
            f"adbo: {time.strftime('%H:%M:%S')}  {min(fraction, 1.0):.0%} done{value}", sys.stderr
        )

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with _IF_POSSIBLE:
                self._bar.close()
