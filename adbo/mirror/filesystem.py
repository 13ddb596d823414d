"""The type of the file system that a file is on; on shared ones SQLite's locks are unreliable."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: File systems that several machines can write at once, as `mount` names them. On their locks:
#: https://www.sqlite.org/howtocorrupt.html, section 2.1.
_SHARED = re.compile(
    r"9p|afs|ceph|cifs|daos|gfs2|gpfs|lustre|nfs4?|ocfs2|orangefs|panfs|pvfs2|smb3|smbfs|wekafs"
    r"|(fuse\.)?(beegfs|glusterfs)|fuse\.(ceph|sshfs)"
)


def shared_kind(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the type of the file system of a path if other machines may write it, else None.

    Parameters
    ----------
    path
        A file or directory; it need not exist.
    mounts
        The kernel's list of mounts. If it cannot be read, the result is None.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found, depth = None, -1
    for line in lines:
        left, _, right = line.partition(" - ")
        words = left.split()
        if len(words) < 5 or not right:
            continue
        # The kernel writes a blank in a name as an octal escape sequence.
        point = words[4].encode().decode("unicode_escape")
        if os.path.commonpath([real, point]) == point and len(point) >= depth:
            found, depth = right.split()[0], len(point)
    return found if found is not None and _SHARED.fullmatch(found) else None
