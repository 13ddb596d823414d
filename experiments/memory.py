"""Memory of a rank by the number of evaluations that it knows, and what it is for.

    mpiexec -n 2 python experiments/memory.py --evaluations 1000000 --output FILE.csv

The ranks make the evaluations together, of 5 parameters, and send them to each other as in a run.
From time to time each asks for a point, as the optimizer keeps memory of its own. Rank 0 appends
rows to the file: MiB of the process that no other one shares (USS), its proportional share of
everything (PSS), and what of it are the arrays of the history and the points that it has seen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from versions import code_version

from adbo.core.evaluation import Evaluation, Layout, to_batch
from adbo.core.history import History
from adbo.optimizer.ask import propose

LAYOUT = Layout({f"x{i}": FloatDistribution(0, 1) for i in range(5)})

#: Evaluations that a rank sends at once.
_AT_ONCE = 100


def main() -> None:
    """Make the evaluations; rank 0 writes a row at each of the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evaluations", type=int, default=1_000_000, help="of all ranks")
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("memory.csv"), metavar="FILE.csv")
    options = parser.parse_args()

    from mpi4py import MPI

    from adbo.comm.endpoint import Endpoint, MessagingSettings
    from adbo.comm.mpi import MpiMail

    comm = MPI.COMM_WORLD
    transport, history = Endpoint(MpiMail(comm), MessagingSettings(share=1.0)), History()
    rng = np.random.default_rng(comm.rank)
    rows = [row_of(history, comm.size)]
    seq = 0
    for size in np.linspace(0, options.evaluations, options.rows + 1).astype(int)[1:]:
        while seq < size // comm.size:
            made = evaluations(comm.rank, seq, rng)
            transport.broadcast(*made)
            history.extend(map(to_batch, made))
            history.extend(transport.receive().batches)
            seq += _AT_ONCE
        while len(history) < seq * comm.size:
            history.extend(transport.receive().batches)
            time.sleep(0.01)
        propose(history, 2.0, rng)
        rows.append(row_of(history, comm.size))
    transport.leave({"rank": comm.rank})
    while not transport.settled:
        transport.receive()
        time.sleep(0.01)
    if comm.rank == 0:
        table = pd.DataFrame(rows)
        table.to_csv(options.output, mode="a", header=not options.output.exists(), index=False)
        print(json.dumps(rows[-1]))


def evaluations(rank: int, seq: int, rng: np.random.Generator) -> list[Evaluation]:
    """Return the next evaluations of a rank, at random points."""
    points, now = rng.random((_AT_ONCE, len(LAYOUT.distributions))), time.time()
    return [
        Evaluation(
            rank, seq + i, TrialState.COMPLETE, float(x.sum()), now, now, LAYOUT, tuple(x.tolist())
        )
        for i, x in enumerate(points)
    ]


def row_of(history: History, ranks: int) -> dict[str, object]:
    """Return the memory of this process, in MiB."""
    fields = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()]
    kib = {words[0].rstrip(":"): int(words[1]) for words in fields[1:]}
    arrays = sum(a.nbytes for a in vars(history).values() if isinstance(a, np.ndarray))
    return {
        "version": code_version(),
        "ranks": ranks,
        "evaluations": len(history),
        "uss": round((kib["Private_Clean"] + kib["Private_Dirty"]) / 1024, 1),
        "pss": round(kib["Pss"] / 1024, 1),
        "arrays": round(arrays / 2**20, 1),
        "points": round(_set_bytes(history._points) / 2**20, 1),
    }


def _set_bytes(items: set[bytes]) -> int:
    """Return the bytes of a set of objects."""
    return sys.getsizeof(items) + sum(sys.getsizeof(item) for item in items)


if __name__ == "__main__":
    main()
