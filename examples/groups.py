"""Calibrate a simulation that is parallel itself: two ranks compute the heat in a rod together.

    mpiexec -n 4 python -m adbo run examples/groups.py:objective --ranks-per-trial 2 --trials 200

The ranks of a group call the objective together with equal trials, and `trial.comm` is their
mpi4py communicator. What the first rank of a group returns is the value.
"""

import numpy as np
from mpi4py import MPI

N_CELLS = 100
N_STEPS = 500


def temperatures(comm, conductivity, loss):
    """Return the temperatures of a rod that is hot on the left; each rank computes a part."""
    n_own = len(np.array_split(range(N_CELLS), comm.size)[comm.rank])
    rod = np.zeros(n_own + 2)  # with a cell of each neighbour
    left = comm.rank - 1 if comm.rank > 0 else MPI.PROC_NULL
    right = comm.rank + 1 if comm.rank < comm.size - 1 else MPI.PROC_NULL
    for _ in range(N_STEPS):
        comm.Sendrecv(rod[1:2], left, recvbuf=rod[-1:], source=right)
        comm.Sendrecv(rod[-2:-1], right, recvbuf=rod[:1], source=left)
        if left == MPI.PROC_NULL:
            rod[0] = 1.0
        if right == MPI.PROC_NULL:
            rod[-1] = rod[-2]
        rod[1:-1] += conductivity * np.diff(rod, 2) - loss * rod[1:-1]
    return np.concatenate(comm.allgather(rod[1:-1]))


#: What stands for measured temperatures. Each rank computes them alone.
MEASURED = temperatures(MPI.COMM_SELF, 0.3, 0.002)


def objective(trial):
    """Return how far the computed temperatures are from the measured ones."""
    conductivity = trial.suggest_float("conductivity", 0.05, 0.45)
    loss = trial.suggest_float("loss", 1e-5, 1e-1, log=True)
    difference = temperatures(trial.comm, conductivity, loss) - MEASURED
    return float(np.sqrt(np.mean(difference**2)))
