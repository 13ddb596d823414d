"""What the user sees: the live line of a run, its last words, and reports on studies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from adbo.core.evaluation import FAIL_REASON
from adbo.core.history import History
from adbo.core.stopping import StopReason
from adbo.run.execute import Outcome
from adbo.run.state import Progress

#: Seconds between two updates of the live line.
_INTERVAL = 0.25

#: How far up among its parents a rank looks for the launcher: the launcher itself, its proxy or
#: daemon, and a shell in between.
_GENERATIONS = 4

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt}{postfix}"
_OPEN_END = "{n_fmt}{postfix}"


class Quiet:
    """The reporter that says only what went wrong."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, progress: Progress) -> None:
        """Nothing to say."""

    def say(self, text: str) -> None:
        """One line."""
        print(f"adbo: {text}", file=self._stream, flush=True)

    def end(self) -> None:
        """Nothing to say."""


class Terminal:
    """The reporter for people: a live line on a terminal, and single lines anywhere.

    Parameters
    ----------
    stream
        Where to write.
    live
        Whether somebody watches, so that a line may be rewritten.
    """

    def __init__(self, stream: TextIO, *, live: bool) -> None:
        self._stream = stream
        self._live = live
        self._bar: tqdm[Any] | None = None
        self._progress: Progress | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="adbo-reporter", daemon=True)

    def begin(self, progress: Progress) -> None:
        """Show the live line from now on, and the first failure of the objective."""
        self._progress = progress
        settings = progress.settings
        if settings.walltime is not None:
            end = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(settings.walltime))
            self.say(f"ends at {end} at the latest, before the time limit of the Slurm job")
        elif settings.n_trials is None and settings.timeout is None:
            self.say("neither trials nor timeout is given: running until Ctrl-C or SIGTERM")
        if self._live:
            n_trials = progress.settings.n_trials
            self._bar = tqdm(
                total=n_trials,
                initial=min(progress.n_before, n_trials or progress.n_before),
                file=self._stream,
                bar_format=_OPEN_END if n_trials is None else _BAR,
                dynamic_ncols=_has_size(self._stream),
                ncols=None if _has_size(self._stream) else 100,
                unit=" trials",
            )
        self._thread.start()

    def say(self, text: str) -> None:
        """One line."""
        if self._bar is None:
            print(f"adbo: {text}", file=self._stream, flush=True)
        else:
            tqdm.write(f"adbo: {text}", file=self._stream)

    def end(self) -> None:
        """Show the last state, and stop."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _run(self) -> None:
        assert self._progress is not None
        meter = Meter(self._progress)
        complained = False
        while True:
            over = self._over.wait(_INTERVAL)
            failure = meter.update()
            if failure is not None and not complained:
                complained = True
                self.say(f"an evaluation failed ({failure}); the run goes on")
            if self._bar is not None:
                self._bar.n = len(self._progress.history)
                if self._bar.total is not None:
                    self._bar.n = min(self._bar.n, self._bar.total)
                self._bar.set_postfix_str(meter.text(time.time()), refresh=False)
                self._bar.refresh()
            if over:
                return


class Meter:
    """Reads a run's figures off its history, each row once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._cursor = progress.n_before
        self._busy = 0.0
        self._last = np.full(progress.n_ranks, progress.started)

    def update(self) -> str | None:
        """Take in new rows; return why the first of them that failed did, if one did."""
        history = self._progress.history
        new = slice(self._cursor, len(history))
        self._cursor = new.stop
        started, finished = history.column("started")[new], history.column("finished")[new]
        self._busy += float((finished - started).sum())
        np.maximum.at(self._last, history.column("rank")[new], finished)
        failed = np.flatnonzero(history.column("state")[new] == TrialState.FAIL.value)
        if not failed.size:
            return None
        return fail_reason(history.evaluation(new.start + int(failed[0])).extras.user_attrs)

    @property
    def utilization(self) -> float:
        """Time spent evaluating, of the time until each rank's latest known result."""
        spent = float((self._last - self._progress.started).sum())
        return self._busy / spent if spent > 0 else 0.0

    def text(self, now: float) -> str:
        """Best value, rate, utilization and time left."""
        progress, history = self._progress, self._progress.history
        seconds = max(now - progress.started, 1e-9)
        rate = (len(history) - progress.n_before) / seconds
        parts = []
        if history.best is not None:
            parts.append(f"best {history.column('value')[history.best]:.6g}")
        parts += [f"{rate:.3g}/s", f"utilization {self.utilization:.0%}"]
        left = _seconds_left(progress, rate, seconds)
        if left is not None:
            parts.append(f"{tqdm.format_interval(max(left, 0.0))} left")
        return ", ".join(parts)


def _seconds_left(progress: Progress, rate: float, seconds: float) -> float | None:
    limits = []
    if progress.settings.timeout is not None:
        limits.append(progress.settings.timeout - seconds)
    if progress.settings.walltime is not None:
        limits.append(progress.settings.walltime - progress.started - seconds)
    if progress.settings.n_trials is not None and rate > 0:
        limits.append((progress.settings.n_trials - len(progress.history)) / rate)
    return min(limits, default=None)


def fail_reason(user_attrs: Mapping[str, Any]) -> str:
    """Why an evaluation failed, as far as is known."""
    return str(user_attrs.get(FAIL_REASON, "no reason given"))


def common_failure(history: History, n_before: int = 0) -> str | None:
    """Why the last evaluation of a run failed, if none of them succeeded."""
    states = history.column("state")[n_before:]
    if not states.size or (states != TrialState.FAIL.value).any():
        return None
    return fail_reason(history.evaluation(len(history) - 1).extras.user_attrs)


def is_watched(stream: TextIO) -> bool:
    """Whether somebody sees what is written to a stream at once.

    Launchers give ranks pipes and pass on what comes out of them, so beside the stream itself the
    standard errors of the parents count.
    """
    if stream.isatty():
        return True
    process = os.getppid()
    for _ in range(_GENERATIONS):
        try:
            target = os.readlink(f"/proc/{process}/fd/2")
            name = Path(f"/proc/{process}/comm").read_text()
            if _is_launcher(name) and target.startswith(("/dev/pts/", "/dev/tty")):
                return True
            stat = Path(f"/proc/{process}/stat").read_text()
            process = int(stat.rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return False
    return False


def _has_size(stream: TextIO) -> bool:
    """Whether a stream is a terminal that knows how wide it is."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def _is_launcher(name: str) -> bool:
    return name.startswith(("mpiexec", "mpirun", "prterun", "prte", "orterun", "hydra", "srun"))


def last_words(outcome: Outcome) -> list[str]:
    """What a run says at its end."""
    summary = outcome.summary
    n_new = len(outcome.history) - summary["n_before"]
    lines = [f"{describe_best(summary)}"]
    lines.append(
        f"{len(outcome.history)} trials ({summary['n_complete']} complete,"
        f" {summary['n_pruned']} pruned, {summary['n_fail']} failed), {n_new} of them now on"
        f" {summary['n_ranks']} rank{'s' * (summary['n_ranks'] > 1)}"
        f" in {summary['wall_seconds']:.1f} s, utilization {summary['utilization']:.0%}"
    )
    n_trials = outcome.progress.settings.n_trials
    if outcome.reason is not None:
        lines.append(f"stopped early: {outcome.reason.value}")
    elif not n_new and n_trials is not None:
        lines = [lines[0], f"the study already has its {n_trials} trials: nothing was left to do"]
    if summary["storage"] != "none":
        lines.append(f"study {summary['study_name']} in {summary['storage']}")
        lines.append(f"see it:      optuna-dashboard {summary['storage']}")
        lines.append(f"continue it: --resume --study-name {summary['study_name']}")
        if outcome.reason is StopReason.WALLTIME:
            lines.append("the wall time ended it: submit the same job again to go on")
    return lines


def describe_best(summary: Mapping[str, Any]) -> str:
    """The best value and its parameters, on one line."""
    if summary["best_value"] is None:
        return "no evaluation is complete"
    return f"best value {summary['best_value']:.10g} at {params_text(summary['best_params'])}"


def params_text(params: Mapping[str, Any]) -> str:
    """Parameters on one line, floats with as many digits as a reader wants."""
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


def describe_study(study: optuna.Study) -> dict[str, Any]:
    """The summary of a stored study, as far as its trials tell."""
    trials = study.get_trials(deepcopy=False)
    finished = [t for t in trials if t.state.is_finished()]
    complete = [t for t in finished if t.state == TrialState.COMPLETE]
    states = [t.state for t in trials]
    best = study.best_trial if complete else None
    ranks = [t.user_attrs["adbo:rank"] for t in finished if "adbo:rank" in t.user_attrs]
    times = [(t.datetime_start, t.datetime_complete) for t in finished]
    spans = [(a.timestamp(), b.timestamp()) for a, b in times if a is not None and b is not None]
    wall = max(b for _, b in spans) - min(a for a, _ in spans) if spans else 0.0
    busy = sum(b - a for a, b in spans)
    n_ranks = len(set(ranks)) or 1
    return {
        "study_name": study.study_name,
        "direction": study.direction.name.lower(),
        "best_value": None if best is None else best.value,
        "best_params": None if best is None else best.params,
        "n_complete": states.count(TrialState.COMPLETE),
        "n_pruned": states.count(TrialState.PRUNED),
        "n_fail": states.count(TrialState.FAIL),
        "n_running": states.count(TrialState.RUNNING),
        "n_waiting": states.count(TrialState.WAITING),
        "n_ranks": n_ranks,
        "wall_seconds": wall,
        "utilization": busy / (n_ranks * wall) if wall > 0 else 0.0,
        "evaluations_per_rank": np.bincount(ranks or [0], minlength=1).tolist() if ranks else [],
    }


class SimulationBar:
    """The progress of a simulation, with the time left.

    Parameters
    ----------
    live
        Whether somebody watches.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> SimulationBar:
        return self

    def update(self, fraction: float, best: float | None) -> None:
        """Show how much is done."""
        if not self._live:
            return
        if self._bar is None:
            # Here and not before: a simulation may fork, and a bar has a thread.
            self._bar = tqdm(total=1.0, bar_format="{l_bar}{bar}| {remaining} left{postfix}")
        self._bar.update(min(fraction, 1.0) - self._bar.n)
        if best is not None:
            self._bar.set_postfix_str(f"best {best:.6g}", refresh=False)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def describe_simulation(summary: Mapping[str, Any]) -> str:
    """What a simulation did, on one line."""
    n = summary["n_complete"] + summary["n_pruned"] + summary["n_fail"]
    return (
        f"{n} evaluations ({summary['n_complete']} complete, {summary['n_pruned']} pruned,"
        f" {summary['n_fail']} failed) on {summary['n_workers']} virtual workers in"
        f" {summary['wall_seconds']:.0f} virtual seconds by {summary['method']},"
        f" utilization {summary['utilization']:.1%} of {summary['utilization_attainable']:.1%}"
    )
