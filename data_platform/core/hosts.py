"""Which host names mean this very machine. Not here: who may read what."""

from __future__ import annotations

import functools
import ipaddress


def host_name(host: str) -> str:
    """The name of a Host header, without the port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


@functools.lru_cache(64)  # asked with every request: 3 µs
def is_this_machine(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
