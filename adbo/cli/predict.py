"""The command ``simulate --from``: what other numbers of workers would take for a study."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from adbo.cli.output import DONE, FAILED, print_error, print_text, write_json
from adbo.core.errors import UsageError
from adbo.mirror.connection import storage_name
from adbo.mirror.study import accessed, load_study, table_of
from adbo.mirror.waiting import told_of_waiting
from adbo.report.page.columns import Collector
from adbo.report.page.replayed import measured, replay_of
from adbo.report.prediction import Prediction, Replay, default_workers, predict

#: What the table does not tell, in its last lines.
_ASSUMPTIONS = (
    "The evaluations of the study are replayed in their order.",
    "More workers know less when they ask, so they may need more evaluations for the best value.",
)


def predict_from(options: argparse.Namespace, storage: str) -> int:
    """Print a table of predictions, and return the exit status."""
    with told_of_waiting(storage, print_error):
        study = load_study(storage, options.from_study)
    sign = -1 if study.directions[0].name == "MAXIMIZE" else 1
    collector = Collector([sign] * len(study.directions))
    with accessed("read"):
        for row in table_of(study).rows:
            collector.add(row)
    columns = collector.columns()
    replay = replay_of(columns, sign)
    if not len(replay):
        raise UsageError(f"study {study.study_name!r} has no finished evaluation with its times")
    if len(study.directions) > 1:
        replay = Replay(replay.durations, replay.pauses, replay.failed, best=None)
    real = measured(columns, replay)
    workers = options.workers or default_workers(1 if real is None else real.workers)
    predictions = [predict(replay, w, options.trials, options.time) for w in workers]
    content = _json(study.study_name, storage_name(storage), real, predictions)
    is_done = write_json(options.json, content)
    if not options.quiet:
        lines = _lines(study.study_name, replay, real, predictions, options)
        is_done &= print_text("\n".join(lines), sys.stdout)
    return DONE if is_done else FAILED


def _lines(
    name: str,
    replay: Replay,
    real: Prediction | None,
    predictions: Sequence[Prediction],
    options: argparse.Namespace,
) -> list[str]:
    failed = np.count_nonzero(replay.failed) / len(replay)
    on = "" if real is None else f" on {real.workers} rank{'s' if real.workers > 1 else ''}"
    first = (
        f"study {name}: {len(replay):,} evaluations{on}, {failed:.1%} failed,"
        f" {_time(float(np.median(replay.durations)))} each (median),"
        f" {_time(float(np.median(replay.pauses)))} between two"
    )
    head = ("workers", "evaluations", "failed", "time", "utilization", "best after", "node hours")
    rows: list[tuple[str, ...]] = [head]
    if real is not None:
        rows.append(_row(f"{real.workers} (real)", real, options.workers_per_node))
    rows += [_row(f"{p.workers:,}", p, options.workers_per_node) for p in predictions]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return [first, *table, *_ASSUMPTIONS]


def _row(name: str, prediction: Prediction, per_node: int) -> tuple[str, ...]:
    best = prediction.seconds_to_best
    return (
        name,
        f"{prediction.evaluations:,}",
        f"{prediction.failures:,}",
        _time(prediction.seconds),
        f"{prediction.utilization:.1%}",
        "-" if best is None else _time(best),
        f"{_node_hours(prediction, per_node):,.4g}",
    )


def _node_hours(prediction: Prediction, per_node: int) -> float:
    """Return the hours of the nodes; a node that is used in part counts whole."""
    return -(-prediction.workers // per_node) * prediction.seconds / 3600


def _time(seconds: float) -> str:
    """Return a time with its unit."""
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 600:
        return f"{seconds:.3g} s"
    return f"{seconds / 3600:,.3g} h" if seconds >= 10_800 else f"{seconds / 60:.3g} min"


def _json(
    name: str, storage: str, real: Prediction | None, predictions: Sequence[Prediction]
) -> dict[str, Any]:
    return {
        "study_name": name,
        "storage": storage,
        "measured": None if real is None else asdict(real),
        "predictions": [asdict(prediction) for prediction in predictions],
    }
