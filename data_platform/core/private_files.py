"""What the platform writes is for its owner alone: a home holds personal data, landing may, token files are secrets.
Belongs here: the mask every process writes with, noticing a secret that others may read. Not here: who may ask the
servers for what (web, features/api)."""

from __future__ import annotations

import functools
import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

OTHERS = 0o077


def write_for_owner_alone() -> None:
    """From now on files of this process are made with 0600 and folders with 0700, by whatever library; so are those of
    processes it starts. Called where a process of the platform begins. Folders that exist keep their mode."""
    os.umask(os.umask(OTHERS) | OTHERS)


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
