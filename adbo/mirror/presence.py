"""What a job shows of itself to the other jobs of a study, and whether it seems to run."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two signs of life, and seconds without one after which a job counts as ended.
BEAT_SECONDS, SILENCE_SECONDS = 5.0, 60.0

#: A random text that Linux makes when a machine is booted.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Presence:
    """What a job shows of itself.

    Parameters
    ----------
    number
        The number of the job.
    seen
        When it was last there, in seconds; 0 after its end.
    host, pid
        The machine and the process that keeps its mirror.
    """

    number: int
    seen: float
    host: str
    pid: int

    @classmethod
    def of_this_process(cls, number: int, now: float) -> Presence:
        """Return that of a job whose mirror this process keeps."""
        return cls(number, now, _host(), os.getpid())

    def is_running(self, now: float) -> bool:
        """Return whether the job seems to run; a process that died here is noticed at once."""
        if now - self.seen > SILENCE_SECONDS:
            return False
        return self.host != _host() or _exists(self.pid)


def _host() -> str:
    """Return a name for the set of processes that can see each other.

    Nodes may have one name, such as ``localhost``, but not one id of their last boot.
    """
    try:
        return f"{_BOOT_ID.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _exists(pid: int) -> bool:
    """Return whether a process of this machine exists, and has not just ended.

    The system may hide ``/proc/<pid>`` of other users.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"
