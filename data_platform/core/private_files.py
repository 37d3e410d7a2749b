"""What the platform writes is for its owner alone: a home holds personal data, landing may, token files are secrets.
Belongs here: the mask every process writes with, closing what was made without it, noticing a secret that others may
read. Not here: who may ask the servers for what (web, features/api)."""

from __future__ import annotations

import functools
import logging
import os
import stat
from collections.abc import Collection
from pathlib import Path

logger = logging.getLogger(__name__)

OTHERS = 0o077
OTHERS_READ = 0o044
ACCESS_LIST = "system.posix_acl_access"


def write_for_owner_alone() -> None:
    """From now on files of this process are made with 0600 and folders with 0700, by whatever library; so are those of
    processes it starts. Called where a process of the platform begins."""
    os.umask(os.umask(OTHERS) | OTHERS)


def close_home(home: Path, parts: Collection[Path]) -> None:
    """Close a home whose folders others may list, as earlier versions and `mkdir` make them, and say so. What was
    opened on purpose stays: folders to pass through (0710), those with an access list, those of somebody else.

    `parts` are what the platform keeps directly in it: a folder with none of these is no home, whatever it is called.
    """
    there = [part for part in parts if os.path.lexists(part)]
    if not there:
        return
    closed = [path for path in (home, *there) if _closed(path)]
    if closed:
        logger.warning(
            "%s could be read by others and is for its owner alone now (%s). The runbook says how to open it on "
            'purpose: "Others must read or write files".',
            home,
            ", ".join(path.name for path in closed),
        )


def _closed(path: Path) -> bool:
    """Whether others could read it and now cannot."""
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or not mode & OTHERS_READ or _has_access_list(path):
        return False
    path.chmod(mode & ~OTHERS)
    return True


def _has_access_list(path: Path) -> bool:
    """Of a path with one, the bits of the group are the list's mask."""
    try:
        return bool(os.getxattr(path, ACCESS_LIST))
    except (OSError, AttributeError):  # none, or a system without
        return False


@functools.cache
def warn_if_others_may_read(secrets: Path, variable: str) -> None:
    """Once per process, of a file that holds secrets."""
    mode = stat.S_IMODE(secrets.stat().st_mode)
    if mode & OTHERS:
        logger.warning(
            "%s (%s) holds secrets and may be read by others (mode %04o): `chmod 600 %s`.",
            secrets,
            variable,
            mode,
            secrets,
        )
