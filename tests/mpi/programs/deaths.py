"""Send records over the overlay while some ranks are killed; print what each survivor knows.

Usage: deaths.py SEED [SECONDS]. One to five ranks kill themselves at random times, also while the
ranks are ending. A survivor prints "RESULT", its rank, the number of records, a hash of their
names, and whether its own are among them.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time

from mpi4py import MPI
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from adbo.comm.background import BackgroundReceiver
from adbo.comm.endpoint import Endpoint, MessagingSettings
from adbo.comm.mpi import MpiMail
from adbo.core.evaluation import Evaluation, Layout

LAYOUT = Layout({"x": FloatDistribution(0, 1)})

comm = MPI.COMM_WORLD
seed, seconds = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 6.0
chance = random.Random(seed)
victims = {
    rank: chance.uniform(0.2, 1.3) * seconds
    for rank in chance.sample(range(comm.size), chance.randint(1, 5))
}
transport = Endpoint(MpiMail(comm), MessagingSettings(radix=2))
known: set[tuple[int, int]] = set()


def receive() -> None:
    """Note the names of what has arrived."""
    for batch in transport.receive().batches:
        known.update(zip(batch.rows["rank"].tolist(), batch.rows["seq"].tolist(), strict=True))


def die_if_due() -> None:
    """End this process as kill -9 does, if its time has come."""
    if time.monotonic() - start > victims.get(comm.rank, float("inf")):
        os.kill(os.getpid(), signal.SIGKILL)


listener = BackgroundReceiver(receive, lambda: transport.seconds_until_due)
own = random.Random(1000 * seed + comm.rank)
comm.Barrier()
start = time.monotonic()
n = 0
while time.monotonic() - start < seconds:
    end = time.monotonic() + own.uniform(0.1, 0.9)
    with listener.lent():
        while time.monotonic() < end:
            time.sleep(0.02)
            die_if_due()
    now = time.time()
    evaluation = Evaluation(comm.rank, n, TrialState.COMPLETE, 1.0, now, now, LAYOUT, (0.5,))
    transport.broadcast(evaluation)
    known.add((comm.rank, n))
    n += 1
    receive()
transport.leave({"rank": comm.rank})
while not transport.settled:
    receive()
    time.sleep(0.01)
    die_if_due()
digest = hashlib.sha256(str(sorted(known)).encode()).hexdigest()
has_own = {(comm.rank, i) for i in range(n)} <= known
print("RESULT", comm.rank, len(known), digest, has_own, flush=True)
if not transport.failed:
    transport.barrier()
os._exit(0)  # MPI_Finalize may wait forever for the dead
