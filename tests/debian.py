"""Programs from Debian's packages, installed where they are missing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

#: Where daemons are, besides the path of a user.
PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"

#: Exit status 101: what is installed here is started by the tests, and by nobody else.
_NO_DAEMONS = "#!/bin/sh\nexit 101\n"

Found = TypeVar("Found")


def installed(packages: str, find: Callable[[], Found | None]) -> Found:
    """What is found of some packages, installed if it is not there yet."""
    if (found := find()) is not None:
        return found
    with _alone(), _no_daemons():
        if (found := find()) is None:  # another process may have brought it
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            install = ["install", "--yes", "--no-install-recommends", *packages.split()]
            for arguments in (["update"], install):
                subprocess.run(
                    ["apt-get", "-qq", *arguments],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
            found = find()
    assert found is not None, f"apt-get install {packages} did not bring it"
    return found


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process of the tests at a time."""
    with (Path(tempfile.gettempdir()) / "adbo-tests-install.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _no_daemons() -> Iterator[None]:
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text(_NO_DAEMONS)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
