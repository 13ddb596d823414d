"""A rank's transport: evaluations and changes in, messages of the dissemination out, and back.

What carries the messages is passed in (`adbo.comm.protocols.Mail`), so that the same code runs
over MPI and within one process.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adbo.comm.dissemination import Disseminator
from adbo.comm.inbox import Inbox
from adbo.comm.overlay import choose_radix
from adbo.comm.pace import Pace
from adbo.comm.protocols import Mail
from adbo.core.evaluation import Evaluation
from adbo.core.wire import Encoder, Received, farewell

#: Seconds between two calls of MPI while messages are under way: a large one makes some progress
#: with each call of its sender and of its receiver.
_LOOK = 0.02


@dataclass(frozen=True)
class MessagingSettings:
    """How much messages may cost.

    Parameters
    ----------
    radix
        The radix of the overlay; None to choose it by the number of ranks.
    pace
        How often to send; None for ticks of the default length, or none if all ranks send directly
        to all others.
    share
        Largest fraction of a rank's time for messages; beyond it, records wait and share messages.
    credit
        Seconds by which a rank may exceed its share, so that a short burst is not delayed.
    first_cost
        Seconds assumed for one message until there are measurements.
    n_costs
        Number of latest measurements whose median counts, since the first messages are slow.
    """

    radix: int | None = None
    pace: Pace | None = None
    share: float = 0.01
    credit: float = 5.0
    first_cost: float = 10e-6
    n_costs: int = 15


class Endpoint:
    """The `Transport` of a rank.

    Parameters
    ----------
    mail
        Carries messages to neighbours.
    settings
        How much messages may cost.
    clock
        Returns seconds.
    """

    def __init__(
        self,
        mail: Mail,
        settings: MessagingSettings = MessagingSettings(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rank = mail.rank
        self.size = mail.size
        self.may_use_threads = mail.may_use_threads
        radix = settings.radix or choose_radix(mail.size, mail.may_use_threads)
        pace = settings.pace or (Pace(tick=0.0) if radix >= mail.size else Pace())
        self.dissemination = Disseminator(mail.rank, mail.size, radix, pace)
        self.failed = self.dissemination.failed
        self._mail = mail
        self._clock = clock
        self._budget = _Budget(settings)
        self._encoder = Encoder()
        self._inbox = Inbox()
        self.farewells = self._inbox.farewells

    def broadcast(self, *evaluations: Evaluation) -> None:
        """Send evaluations to every peer."""
        self.send(*map(self._encoder.frames, evaluations))

    def send(self, *frames: bytes) -> None:
        """Send frames to every peer."""
        if frames and self.size > 1:
            self.dissemination.publish(frames, self._clock())
            self._advance()

    def receive(self) -> Received:
        """Return everything that has arrived; also go on sending."""
        start = time.thread_time()
        messages = self._mail.collect()
        if messages:
            self._budget.note_received(len(messages), time.thread_time() - start)
        frames = self.dissemination.receive(messages, self._clock())
        # Not before: what ranks had sent before they died would be ignored.
        self.dissemination.fail(self._mail.failed, self._clock())
        self._advance()
        return self._inbox.open(frames)

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no evaluation of this rank follows."""
        self.farewells[self.rank] = dict(statistics)
        self.dissemination.close(farewell(statistics), self._clock())
        self._advance()

    @property
    def agreed(self) -> bool:
        """Whether this rank has all that any living rank has of the failed ones."""
        return self.dissemination.agreed

    @property
    def seconds_until_due(self) -> float:
        """Seconds until `receive` should be called: to send again, or to go on with a message.

        A call before only receives; zero means that nothing is due.
        """
        until_due = max(0.0, self.dissemination.due - self._clock())
        return until_due if self._mail.is_idle else min(until_due or _LOOK, _LOOK)

    @property
    def settled(self) -> bool:
        """Whether every living rank has everything, as far as this one is needed for it."""
        return self.dissemination.settled and self._mail.is_idle

    def barrier(self) -> None:
        """Wait until every rank is settled; give up if one has died."""
        self._mail.barrier()

    def _advance(self) -> None:
        """Send what may be sent, unless messages have had their share of the time."""
        now = self._clock()
        if self.rank not in self.farewells and self._budget.is_exceeded(now):
            return
        start = time.thread_time()
        messages = self.dissemination.poll(now, self._mail.room)
        for peer, data in messages:
            self._mail.post(peer, data)
        if messages:
            self._budget.note_sent(len(messages), time.thread_time() - start, now)


class _Budget:
    """Keeps the time that messages take within a share of all time."""

    def __init__(self, settings: MessagingSettings) -> None:
        self._settings = settings
        self._paid_until = 0.0  # when the messages sent so far will be within their share
        self._send_costs = deque([settings.first_cost], maxlen=settings.n_costs)
        self._receive_costs = deque([settings.first_cost], maxlen=settings.n_costs)

    def is_exceeded(self, now: float) -> bool:
        """Return whether messages must wait."""
        return now < self._paid_until - self._settings.credit

    def note_received(self, n: int, seconds: float) -> None:
        """Note that receiving n messages took a time."""
        self._receive_costs.append(seconds / n)

    def note_sent(self, n: int, seconds: float, now: float) -> None:
        """Note that sending n messages took a time; it is assumed that as many are received."""
        self._send_costs.append(seconds / n)
        cost = statistics.median(self._send_costs) + statistics.median(self._receive_costs)
        self._paid_until = max(self._paid_until, now) + n * cost / self._settings.share
