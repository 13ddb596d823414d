"""What messages cost: CPU time, the age of records on arrival, and the effect of a silent rank.

    mpiexec -n 32 python experiments/messaging.py --output DIR
    mpiexec -n 32 python experiments/messaging.py --silent 20 --records 1000
    mpiexec -n 32 python experiments/messaging.py --silent 20 --records 1000 --listen
    mpiexec -n 32 python experiments/messaging.py --evaluation 0.002 --records 6250
    mpiexec -n 64 python experiments/messaging.py --listen --evaluation 1 --radix 64
    python experiments/messaging.py --plot DIR

Every rank repeatedly sleeps for ``--evaluation`` seconds, sends one record to all peers, and
receives theirs. With ``--silent``, rank 0 first sends and receives nothing for some seconds, as if
an objective held the process. With ``--listen``, a thread receives during evaluations and silence,
as in a run with an MPI library that allows threads. With ``--radix`` as the number of ranks, all
send directly to all others. Rank 0 prints one JSON object; with ``--output`` it also stores the
distribution of the ages, which ``--plot`` draws.

CPU time is that of the threads, so that it can be measured with more ranks than cores, until the
last record was sent: at the end, ranks look for messages all the time. The age of records is wall
time, and depends on the load of the machine. Sockets are counted on every rank; the ranks of one
machine use them if MPIR_CVAR_NOLOCAL=1, MPIR_CVAR_CH4_NETMOD=ofi and FI_PROVIDER=tcp are in the
environment.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import resource
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from versions import code_version, save

from adbo.comm.background import BackgroundReceiver
from adbo.comm.endpoint import Endpoint, MessagingSettings
from adbo.core.evaluation import Evaluation, Layout, to_batch
from adbo.core.history import History

if TYPE_CHECKING:
    from adbo.comm.mpi import MpiMail

LAYOUT = Layout({f"x{i}": FloatDistribution(0, 1) for i in range(5)})


def main() -> None:
    """Measure on every rank, or draw what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=200, help="per rank")
    parser.add_argument("--evaluation", type=float, default=0.05, help="seconds")
    parser.add_argument("--silent", type=float, default=0.0, help="seconds, on rank 0")
    parser.add_argument("--listen", action="store_true", help="receive in a thread")
    parser.add_argument("--radix", type=int, help="of the overlay; by default as in a run")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to store the ages in")
    parser.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw the ages stored in a folder"
    )
    options = parser.parse_args()
    if options.plot:
        draw(options.plot)
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Send and receive; rank 0 prints the summary."""
    from mpi4py import MPI

    from adbo.comm.mpi import MpiMail

    comm = MPI.COMM_WORLD
    mail = MpiMail(comm)
    posted = _count(mail)
    transport = Endpoint(mail, MessagingSettings(radix=options.radix))
    history = History()
    rng = np.random.default_rng(comm.rank)
    ages: list[float] = []
    receive_seconds = [0.0]

    def receive() -> None:
        start = time.thread_time()
        batches = transport.receive().batches
        receive_seconds[0] += time.thread_time() - start
        history.extend(batches)
        now = time.time()
        ages.extend(now - t for batch in batches for t in batch.rows["finished"])

    listener = (
        BackgroundReceiver(receive, lambda: transport.seconds_until_due)
        if options.listen and transport.may_use_threads
        else None
    )

    def evaluate(seconds: float) -> None:
        with contextlib.nullcontext() if listener is None else listener.lent():
            time.sleep(seconds)

    comm.Barrier()
    before = _megabytes()
    sockets = [_sockets()]
    wall = time.time()
    if comm.rank == 0 and options.silent:
        evaluate(options.silent)
    cpu = catch_up = 0.0
    for seq in range(options.records):
        evaluate(options.evaluation * rng.uniform(0.5, 1.5))
        now = time.time()
        evaluation = Evaluation(
            comm.rank, seq, TrialState.COMPLETE, 1.0, now, now, LAYOUT, tuple(rng.random(5))
        )
        start = time.thread_time()
        transport.broadcast(evaluation)
        cpu += time.thread_time() - start
        history.extend([to_batch(evaluation)])
        start = time.perf_counter()
        receive()
        catch_up = max(catch_up, time.perf_counter() - start)
    loop, spent = time.time() - wall, cpu + receive_seconds[0]  # before ranks wait for each other
    n_messages = posted.total()
    sockets.append(_sockets())
    transport.leave({"rank": comm.rank})
    while not transport.settled:
        receive()
        time.sleep(0.005)
    transport.barrier()
    sockets.append(_sockets())
    sent = options.records * (comm.size - 1)
    figures = comm.gather(
        (
            spent,
            sent,
            loop,
            _megabytes() - before,
            _digest(history),
            ages,
            catch_up,
            n_messages,
            len(posted),
            transport.dissemination.kept_bytes / 2**20,
            sockets,
        )
    )
    comm.Barrier()  # MPICH may not send the last receipts of a rank that waits in MPI_Finalize
    if comm.rank == 0 and figures is not None:
        summary = _summary(figures, comm.size, options)
        summary["evaluations_per_second_by_quarter"] = _rates(history)
        print(json.dumps(summary))
        if options.output:
            _keep(
                options.output,
                summary,
                np.concatenate([row[5] for row in figures]),
            )


def _count(mail: MpiMail) -> Counter[int]:
    """Return the number of messages to each rank, which grows from now on."""
    post, posted = mail.post, Counter[int]()

    def count(peer: int, data: bytes) -> None:
        posted[peer] += 1
        post(peer, data)

    mail.post = count  # type: ignore[method-assign]
    return posted


def _rates(history: History) -> list[float]:
    """Return the evaluations per second in each quarter of the evaluations."""
    finished = np.sort(history.column("finished"))
    borders = finished[np.linspace(0, len(finished) - 1, 5).astype(int)]
    return [round(float(rate)) for rate in len(finished) / 4 / np.diff(borders)]


def _digest(history: History) -> tuple[int, str]:
    """Return the number of evaluations and a hash that does not depend on their order."""
    names = ("rank", "seq", "value", "finished")
    columns = [np.asarray(history.column(name), dtype=np.float64) for name in names]
    rows = np.column_stack([*columns, history.values(np.arange(len(history)))])
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return len(history), hashlib.sha256(rows.tobytes()).hexdigest()


def _keep(directory: Path, summary: dict[str, object], ages: NDArray[np.float64]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{summary['ranks']}_ranks_{summary['evaluation_seconds']:g}_s"
    quantiles = np.quantile(ages, np.linspace(0, 1, 1001))
    kept = {**summary, "age_quantiles": quantiles.tolist()}
    (directory / f"{name}.json").write_text(json.dumps(kept) + "\n")


def draw(directory: Path) -> None:
    """Draw the distribution of the ages on arrival, one curve for each file of the directory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    runs = [json.loads(path.read_text()) for path in directory.glob("*.json")]
    for run in sorted(runs, key=lambda r: (r["evaluation_seconds"], r["ranks"])):
        ages = np.maximum(run["age_quantiles"], 1e-4)
        label = f"{run['ranks']} ranks, evaluations of {run['evaluation_seconds']:g} s"
        axes.plot(ages, np.linspace(0, 1, len(ages)), label=label)
    axes.set(xscale="log", xlabel="age on arrival (s)", ylabel="fraction of the records")
    axes.legend()
    versions = sorted({run["version"] for run in runs})
    save(figure, directory / "age.png", ", ".join(versions))


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _sockets() -> int:
    """Return the number of sockets of this process."""
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder itself
            names.append(str(entry.readlink()))
    return sum(name.startswith("socket:") for name in names)


def _summary(
    figures: Sequence[tuple[Any, ...]], ranks: int, options: argparse.Namespace
) -> dict[str, object]:
    (cpu, sent, loops, growth, digests, ages, catch_up, n_messages, receivers, kept, sockets) = (
        zip(*figures, strict=True)
    )
    per_record = 1e6 * sum(cpu) / sum(sent)
    median, high = np.quantile(np.concatenate(ages), [0.5, 0.99])
    return {
        "version": code_version(),
        "ranks": ranks,
        "records_per_rank": options.records,
        "evaluation_seconds": options.evaluation,
        "silent_seconds": options.silent,
        "listen": options.listen,
        "all_histories_complete": {n for n, _ in digests} == {ranks * options.records},
        "all_histories_equal": len(set(digests)) == 1,
        "cpu_microseconds_per_record_sent_and_received": round(per_record, 2),
        "share_of_time": round(sum(cpu) / sum(loops), 4),
        "messages_out_per_evaluation": round(sum(n_messages) / ranks / options.records, 2),
        "receivers_of_a_rank": max(receivers),
        "sockets_at_start_after_records_at_end": np.max(sockets, axis=0).tolist(),
        "megabytes_kept_largest": round(max(kept), 2),
        "age_seconds_median": round(float(median), 4),
        "age_seconds_99": round(float(high), 4),
        "longest_receive_seconds": round(max(catch_up), 3),
        "megabytes_grown_rank_0": round(growth[0], 1),
        "megabytes_grown_largest": round(max(growth), 1),
    }


if __name__ == "__main__":
    main()
