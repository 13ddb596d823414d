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

from adbo.core.settings import Settings

if TYPE_CHECKING:
    from adbo.comm.protocols import Ranks

#: What is kept for the last messages, the database and the end of thousands of processes: this
#: share of the time that is left, but between so many seconds.
RESERVE_SHARE, RESERVE_LEAST, RESERVE_MOST = 0.05, 5.0, 60.0

#: Seconds that Slurm's controller has for an answer. A busy one must not hold up a job.
_ANSWER_SECONDS = 10.0


def within_walltime(settings: Settings, ranks: Ranks) -> Settings:
    """The settings with an end before that of this process's Slurm job, if it is in one.

    Collective: only the first rank asks Slurm. All end at the same time of the day, for the clocks
    of a cluster agree, while ranks reach the beginning of a run at different times.
    """
    walltime = ranks.share(lambda: last_moment(os.environ, time.time()))
    return replace(settings, walltime=walltime)


def last_moment(environ: Mapping[str, str], now: float) -> float | None:
    """When a run should end that begins now, in seconds since the epoch.

    Parameters
    ----------
    environ
        The process's environment variables.
    now
        Seconds since the epoch.

    Returns
    -------
    float or None
        None outside of Slurm, and in a job without a time limit.
    """
    end = _job_end(environ)
    if end is None:
        return None
    return end - min(max(RESERVE_SHARE * (end - now), RESERVE_LEAST), RESERVE_MOST)


def _job_end(environ: Mapping[str, str]) -> float | None:
    """When Slurm ends this job, in seconds since the epoch."""
    job = environ.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return None
    known = environ.get("SLURM_JOB_END_TIME", "")  # newer versions set it
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
