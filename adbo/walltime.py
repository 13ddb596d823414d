"""When the job ends: Slurm kills what still runs at its time limit, so adbo ends before it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from adbo.settings import Settings

if TYPE_CHECKING:
    from adbo.run import Ranks

#: What is kept for the last messages, the database and the end of thousands of processes: this
#: share of the time that is left, but between so many seconds.
RESERVE_SHARE, RESERVE_LEAST, RESERVE_MOST = 0.05, 5.0, 60.0

#: Seconds that Slurm's controller has for an answer. A busy one must not hold up a job.
_ANSWER_SECONDS = 10.0


def within_walltime(settings: Settings, ranks: Ranks) -> Settings:
    """The settings with a timeout that ends the run before its Slurm job; collective.

    Only the first rank asks Slurm. An earlier timeout of the user stays.
    """
    left = ranks.share(lambda: seconds_left(os.environ, time.time()))
    if left is None or (settings.timeout is not None and settings.timeout <= left):
        return settings
    return replace(settings, timeout=left)


def seconds_left(environ: Mapping[str, str], now: float) -> float | None:
    """Seconds in which a run that begins now should end.

    Parameters
    ----------
    environ
        The process's environment variables.
    now
        Seconds since the epoch.

    Returns
    -------
    float or None
        Above 0; None outside of Slurm, and in a job without a time limit.
    """
    end = _job_end(environ)
    if end is None:
        return None
    reserve = min(max(RESERVE_SHARE * (end - now), RESERVE_LEAST), RESERVE_MOST)
    return max(end - now - reserve, 0.001)


def _job_end(environ: Mapping[str, str]) -> float | None:
    """When Slurm ends this job, in seconds since the epoch."""
    job = environ.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return None
    known = environ.get("SLURM_JOB_END_TIME", "")  # since Slurm 22.05
    if known.isdigit() and int(known) > 0:
        return float(known)
    try:
        answer = subprocess.run(
            ["scontrol", "show", "job", job, "--oneliner"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bEndTime=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", answer)
    return None if found is None else datetime.fromisoformat(found[1]).timestamp()
