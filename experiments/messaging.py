"""What messages cost: CPU per message, how old information is, and what silence does.

    mpiexec -n 32 python experiments/messaging.py
    mpiexec -n 32 python experiments/messaging.py --silent 20 --records 1000
    mpiexec -n 32 python experiments/messaging.py --evaluation 0.002 --records 6250   (a soak)

Every rank sends evaluations that take no time, or ``--evaluation`` seconds, and receives those of
its peers; rank 0 may first be silent for some seconds, as a black box is that holds the process.
Rank 0 prints one JSON object. CPU time is of this process's thread, so that more ranks than cores
do no harm to the figures; the age of information is wall time and does suffer.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
from mpi4py import MPI
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from adbo.history import History
from adbo.mpi import MESSAGING_SHARE, MpiTransport
from adbo.records import Evaluation, Layout, to_batch

LAYOUT = Layout({f"x{i}": FloatDistribution(0, 1) for i in range(5)})


def main() -> None:
    """Run the benchmark on every rank."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=200, help="per rank")
    parser.add_argument("--evaluation", type=float, default=0.05, help="seconds")
    parser.add_argument("--silent", type=float, default=0.0, help="seconds, on rank 0")
    options = parser.parse_args()
    comm = MPI.COMM_WORLD
    transport = MpiTransport(comm)
    history = History()
    rng = np.random.default_rng(comm.rank)
    ages: list[float] = []
    comm.Barrier()
    before = _megabytes()
    wall = time.time()
    if comm.rank == 0 and options.silent:
        time.sleep(options.silent)
    cpu = 0.0
    for seq in range(options.records):
        time.sleep(options.evaluation * rng.uniform(0.5, 1.5))
        now = time.time()
        evaluation = Evaluation(
            comm.rank, seq, TrialState.COMPLETE, 1.0, now, now, LAYOUT, tuple(rng.random(5))
        )
        start = time.thread_time()
        transport.broadcast(evaluation)
        batches = transport.receive()
        cpu += time.thread_time() - start
        history.extend([to_batch(evaluation), *batches])
        ages += [time.time() - t for batch in batches for t in batch.rows["finished"]]
    loop = time.time() - wall
    transport.leave({"rank": comm.rank})
    while not transport.settled:
        start = time.thread_time()
        history.extend(transport.receive())
        cpu += time.thread_time() - start
        time.sleep(0.005)
    sent = options.records * (comm.size - 1)
    figures = comm.gather((cpu, sent, loop, _megabytes() - before, len(history), ages))
    if comm.rank == 0 and figures is not None:
        print(json.dumps(_summary(figures, comm.size, options)))


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _summary(figures: list, ranks: int, options: argparse.Namespace) -> dict[str, object]:
    cpu, sent, loops, growth, known, ages = zip(*figures, strict=True)
    per_record = 1e6 * sum(cpu) / sum(sent)
    quantiles = np.quantile(np.concatenate(ages), [0.5, 0.9, 0.99])
    return {
        "ranks": ranks,
        "records_per_rank": options.records,
        "all_histories_complete": set(known) == {ranks * options.records},
        "cpu_microseconds_per_record_sent_and_received": round(per_record, 2),
        "share_of_time": round(sum(cpu) / sum(loops), 4),
        # Each record in a message of its own would take so much of the time of 4,096 ranks with
        # evaluations of 1 s; the transport makes rounds this far apart instead.
        "share_at_4096_ranks_uncoalesced": round(4095e-6 * per_record, 4),
        "seconds_between_rounds_at_4096_ranks": round(4095e-6 * per_record / MESSAGING_SHARE, 2),
        "age_seconds_median_90_99": [round(float(q), 4) for q in quantiles],
        "megabytes_grown_largest": round(max(growth), 1),
    }


if __name__ == "__main__":
    main()
