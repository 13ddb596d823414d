"""Kill random ranks of many jobs, and count what the survivors lose.

    python experiments/random_deaths.py --jobs 60 --ranks 64 --output FILE.csv \\
        --mpiexec "mpiexec --oversubscribe --continuous --with-ft ulfm"

Needs an Open MPI with ULFM, whose environment ``--python`` belongs to. In each job, 1 to 5 ranks
kill themselves at random times while they send records or end (``tests/mpi/programs/deaths.py``).
Appends one row for each job to the file, and prints the sums. A record is *lost* if some survivors
know it and others do not, or if a survivor does not know its own. A job that does not end in time
counts as hanging.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from versions import code_version

PROGRAM = Path(__file__).parents[1] / "tests" / "mpi" / "programs" / "deaths.py"


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    version: str
    ranks: int
    seed: int
    n_killed: int
    n_survivors: int
    n_records: int
    """The most records that a survivor knows."""
    n_lost: int
    """Records that the survivor that knows fewest lacks, or own ones that are missing."""
    ended: bool
    seconds: float


def main() -> None:
    """Run the jobs, or those of them that the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--send-seconds", type=float, default=6.0)
    parser.add_argument("--patience", type=float, default=300.0, help="seconds until a job hangs")
    parser.add_argument("--mpiexec", default="mpiexec --continuous --with-ft ulfm")
    parser.add_argument("--python", default=sys.executable, help="of the ranks")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.csv")
    options = parser.parse_args()
    for seed in range(options.first_seed, options.first_seed + options.jobs):
        append(options.output, run(options, seed))
    with options.output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    hanging = sum(row["ended"] != "True" for row in rows)
    killed, lost = (sum(int(row[name]) for row in rows) for name in ("n_killed", "n_lost"))
    print(f"{len(rows)} jobs, {killed} ranks killed, {lost} records lost, {hanging} jobs hang")


def run(options: argparse.Namespace, seed: int) -> Outcome:
    """Run one job to its end, or until patience is over."""
    most_killed = random.Random(seed).randint(1, 5)  # as the program chooses
    command = [*shlex.split(options.mpiexec), "-n", str(options.ranks), options.python]
    start = time.monotonic()
    job = subprocess.Popen(
        [*command, str(PROGRAM), str(seed), str(options.send_seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = job.communicate(timeout=options.patience)
        ended = True
    except subprocess.TimeoutExpired:
        ended = False
        os.killpg(job.pid, signal.SIGTERM)
        out, _ = job.communicate()
    results = [line.split() for line in out.splitlines() if line.startswith("RESULT")]
    known = [int(words[2]) for words in results] or [0]
    n_lost = max(known) - min(known) + sum(words[4] != "True" for words in results)
    if n_lost == 0 and len({words[3] for words in results}) > 1:
        n_lost = 1  # as many, but not the same
    has_ended = ended and len(results) >= options.ranks - most_killed
    return Outcome(
        code_version(),
        options.ranks,
        seed,
        options.ranks - len(results) if has_ended else most_killed,
        len(results),
        max(known),
        n_lost,
        has_ended,
        round(time.monotonic() - start, 1),
    )


def append(path: Path, outcome: Outcome) -> None:
    """Append a row to a table, which begins with the names of its columns."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(
            file, [field.name for field in fields(Outcome)], lineterminator="\n"
        )
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(outcome))


if __name__ == "__main__":
    main()
