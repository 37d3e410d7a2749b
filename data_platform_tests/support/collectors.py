"""A collector on a real server, in this process or in one of its own, and what it has stored.
Not here: any assertion."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import zstandard

from data_platform.core.discovery import landing_sources
from data_platform.core.settings import settings
from data_platform.sources.http.configured import collector
from data_platform.sources.segments import read_segment
from data_platform_tests.support.homes import Home, event, kill
from data_platform_tests.support.http_server import served

STREAM = "http:collector"
JSON, LINES = {"content-type": "application/json"}, {"content-type": "application/x-ndjson"}
PACKED = LINES | {"content-encoding": "gzip"}


@contextlib.contextmanager
def collecting(home: Home, host: str = "127.0.0.1", name: str | None = None) -> Iterator[httpx.Client]:
    """A collector with the settings of this process; sealed when the block ends."""
    _, application = collector(settings(), home.lake, landing_sources(), host, name)
    with served(application) as client:
        yield client


def post(client: httpx.Client, *events: Any, **asked: Any) -> httpx.Response:
    """Events as an array."""
    return client.post("/v1/events", content=json.dumps(list(events)), headers=JSON | asked.pop("headers", {}), **asked)


def packed(*events: Any) -> bytes:
    return gzip.compress("".join(json.dumps(one) + "\n" for one in events).encode())


def named(*ids: str) -> list[dict[str, Any]]:
    """A good event of each id."""
    return [event(event_id=one) for one in ids]


def stored_lines(folder: Path) -> list[bytes]:
    """Lines of all segments that lie in a landing folder, in order of position; each stretch goes on where the one
    before it ended."""
    lines: list[bytes] = []
    for path in sorted(folder.glob("*.zst")):
        segment = read_segment(path)
        assert segment.begin == len(lines), f"{segment.begin} is not {len(lines)}"
        text = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read()
        lines += text.splitlines(keepends=True)
        assert segment.end == len(lines)
    assert all(line.endswith(b"\n") for line in lines)
    return lines


def stored_ids(home: Home) -> list[str]:
    return [json.loads(line)["event_id"] for line in stored_lines(home.landing / "player_events")]


def producers_file(folder: Path, *entries: dict[str, Any]) -> Path:
    """A tokens file; each entry has the token itself and what the file says of it."""
    path = folder / "producers.toml"
    text = []
    for number, entry in enumerate(entries):
        digest = hashlib.sha256(entry["token"].encode()).hexdigest()
        said = {"name": f"p{number}", "sha256": digest} | {k: v for k, v in entry.items() if k != "token"}
        text.append("[[tokens]]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in said.items()))
    path.write_text("\n".join(text))
    path.chmod(0o600)
    return path


class Process:
    """A collector in a process of its own, as `data-platform serve collector` starts it."""

    def __init__(self, home: Home, port: int = 0, **environment: str) -> None:
        command = "-m", "data_platform_tests.support.command", "serve", "collector", "--port", str(port)
        self.process: subprocess.Popen[str] = home.start(*command, **environment)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.said)
        assert found, self.said + self.process.stdout.read()
        self.url, self.port = found[0], int(found[1])

    def kill(self) -> None:
        kill(self.process)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        self.said, _ = self.process.communicate(timeout=60)
        return self.process.returncode

    @property
    def peak_bytes(self) -> int:
        """Most memory it ever had."""
        return self._status("VmHWM")

    @property
    def own_bytes(self) -> int:
        """Memory that it has now, but for what it shares with files."""
        return self._status("RssAnon")

    def _status(self, field: str) -> int:
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024
