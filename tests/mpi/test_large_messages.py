"""Messages that are too large for MPI to send them on its own."""

from __future__ import annotations

import json
from pathlib import Path

PROGRAM = """
import json
import time

from mpi4py import MPI

from adbo.comm.mpi import MpiMail

comm = MPI.COMM_WORLD
mail = MpiMail(comm)
comm.sendrecv(bytes(10**6), dest=1 - comm.rank, source=1 - comm.rank)  # connects the two
if mail.rank == 0:
    for size in (2_000_000, 10, 3_000_000, 20):
        mail.post(1, bytes(size))
    time.sleep(2)  # an evaluation during which nothing of this rank calls MPI
    while not mail.is_idle:
        mail.collect()
else:
    sizes, longest, was_idle = [], 0.0, False
    while len(sizes) < 4:
        start = time.monotonic()
        sizes += [len(data) for _, data in mail.collect()]
        longest = max(longest, time.monotonic() - start)
        was_idle |= mail.is_idle and bool(mail._arriving)
        time.sleep(0.01)
    print(json.dumps([sizes, longest, was_idle]))
mail.barrier()
"""


def test_nobody_waits_for_a_rank_that_does_not_go_on_sending(
    start_job, launcher, tmp_path: Path, over_tcp: None
) -> None:
    (tmp_path / "sending.py").write_text(PROGRAM)
    status, out, err = start_job(2, "sending.py", launcher=launcher).end()
    assert status == 0, err
    sizes, longest, was_idle = json.loads(out)
    assert sizes == [2_000_000, 10, 3_000_000, 20]
    assert longest < 1
    assert not was_idle
