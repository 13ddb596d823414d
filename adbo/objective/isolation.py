"""An objective that is evaluated in a process of its own, which may crash, hang or be killed.

The rank starts the process without the environment of MPI, and starts another one after it has
died. Only the process calls the objective; with ``--allowed`` the rank loads the user's code, too.
While the process computes, the rank waits, and its threads exchange messages.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import optuna
from optuna.trial import BaseTrial, TrialState

from adbo.core.errors import UsageError, signal_name
from adbo.core.launcher_environment import without_launcher
from adbo.interruption.programs import signal_session
from adbo.objective.evaluate import FailedEvaluation
from adbo.objective.orders import Answer, Evaluate, Load
from adbo.objective.trial import Trial
from adbo.objective.trial_server import address_of

#: Seconds between two looks at whether the process is alive; it delays the notice of its death.
_LOOK = 0.2

#: Seconds that an abandoned evaluation has for cleaning up before it is killed.
_GRACE = 2.0

#: Seconds that loading the objective anew may take if evaluations have a time limit.
_LOADING = 60.0

#: Kills the session whose number was the last one read, when the rank has closed the pipe or has
#: died; without the command pkill, the process group of its leader only. A shell, since it needs a
#: megabyte, and since the process itself may hang.
_GUARD = """
session=0; while read -r line; do session=$line; done
[ "$session" = 0 ] || { kill -KILL "-$session"; pkill -KILL -s "$session"; } 2> /dev/null
"""


class IsolatedObjective:
    """An objective in a process of its own; call `start` before MPI is loaded, if possible.

    Parameters
    ----------
    objective
        What the user named, or a function as bytes of `cloudpickle`.
    trial_timeout
        Seconds after which an evaluation is killed and fails; None for no limit.
    """

    def __init__(self, objective: str | bytes, trial_timeout: float | None = None) -> None:
        self._load = Load(objective, sys.path, {})
        self._trial_timeout = trial_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, and a guard that ends it with this rank."""
        if self._guard is None:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD],
                stdin=subprocess.PIPE,
                env=without_launcher(os.environ),
                start_new_session=True,
            )
        ours, theirs = multiprocessing.Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adbo.objective.evaluation_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=without_launcher(os.environ),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # so that its children can be killed with it
            )
        self._connection = ours
        self._guard_session(self._process.pid)

    def load(self, environ: Mapping[str, str]) -> None:
        """Load the objective, with environment variables that are set before.

        Raises
        ------
        UsageError
            If there is no such objective, or importing it fails.
        """
        self._load = Load(self._load.objective, sys.path, dict(environ))
        try:
            problem = self._ask(self._load)
        except FailedEvaluation as failure:
            problem = f"cannot import the objective: {failure}"
        if problem is not None:
            raise UsageError(problem)

    def __call__(self, trial: BaseTrial) -> tuple[float, ...]:
        """Evaluate a trial, and return its values.

        Raises
        ------
        optuna.TrialPruned
            If the objective raised it.
        FailedEvaluation
            If the objective failed, its process died, or there was no result in time.
        """
        assert isinstance(trial, Trial)
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # it has died since the last evaluation, and says nothing about this one
        if self._process is None:
            self.start()
            limit = None if self._trial_timeout is None else max(self._trial_timeout, _LOADING)
            problem = self._ask(self._load, limit)
            if problem is not None:
                self._kill()
                raise FailedEvaluation(problem)
        n_objectives = len(trial.study.directions)
        order = Evaluate(trial.study.study_name, address_of(trial), trial._trial_id, n_objectives)
        answer: Answer = self._ask(order, self._trial_timeout)
        trial.contradiction = answer.contradiction
        if answer.result.state is TrialState.PRUNED:
            raise optuna.TrialPruned
        if answer.result.reason is not None:
            raise FailedEvaluation(answer.result.reason)
        return answer.result.values

    def close(self) -> None:
        """End the process and its guard."""
        self._kill()
        if self._guard is not None:
            assert self._guard.stdin is not None
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def _ask(self, order: Load | Evaluate, limit: float | None = None) -> Any:
        """Return the answer to an order; kill the process if there is none."""
        assert self._connection is not None
        try:
            self._connection.send(order)
            return self._answer(limit)
        except FailedEvaluation:
            raise
        except (EOFError, OSError):
            raise FailedEvaluation(self._cause_of_death()) from None
        except BaseException:  # the run ends
            self._end_gently()
            raise

    def _answer(self, limit: float | None) -> Any:
        assert self._process is not None
        assert self._connection is not None
        deadline = None if limit is None else time.monotonic() + limit
        is_alive = True
        while True:
            left = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
            if self._connection.poll(max(left, 0.0)):
                return self._connection.recv()
            if not is_alive:
                raise EOFError
            if deadline is not None and time.monotonic() >= deadline:
                self._kill()
                raise FailedEvaluation(f"no result after {limit:g} s")
            # Its children may hold the connection open. One more look: it may have answered.
            is_alive = self._process.poll() is None

    def _cause_of_death(self) -> str:
        """Kill what is left of the process, and return why it died."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        status = self._process.returncode
        self._kill()
        if status is None:
            return "the evaluation closed the connection to its rank"
        if status >= 0:
            return f"the evaluation ended its process with exit status {status}"
        name = signal_name(-status)
        hint = ": perhaps the memory was exhausted" if status == -signal.SIGKILL else ""
        return f"the process of the evaluation was killed by {name}{hint}"

    def _end_gently(self) -> None:
        """Give the evaluation time to clean up, and kill what is left of it."""
        if self._process is not None:
            signal_session(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        self._kill()

    def _kill(self) -> None:
        """Kill the process and its children; the next evaluation starts another one."""
        if self._process is None:
            return
        signal_session(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._guard_session(0)
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _guard_session(self, session: int) -> None:
        if self._guard is not None:
            assert self._guard.stdin is not None
            with contextlib.suppress(OSError):
                self._guard.stdin.write(f"{session}\n".encode())
                self._guard.stdin.flush()
