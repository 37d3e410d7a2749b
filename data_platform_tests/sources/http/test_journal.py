"""What is acknowledged is on the disk: disks that are full, slow or fail, and what a crash leaves at any call.
Not here: a whole collector that is killed (test_collector_kills)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from data_platform.core.errors import PlatformError
from data_platform.sources.http import collector, intake, journal
from data_platform.sources.http.journal import Journal, name_of, whole_lines
from data_platform.sources.segments import write_segment
from data_platform_tests.support.collectors import JSON, STREAM, collecting, named, post, stored_ids, stored_lines
from data_platform_tests.support.homes import Home

JOURNALS = "landing/player_events/_journal"


# ------------------------------------------------------------------------ after a crash
def left_behind(home: Home, content: bytes, begin: int = 0) -> Path:
    path = home.path / JOURNALS / name_of(STREAM, begin)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b'{"a"', b""),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b'{"a":1}\n{"b', b'{"a":1}\n'),
        (b'{"a":1}\n\0\0\0\0\n{"b":1}\n', b'{"a":1}\n'),
        (b'{"a":1}\n{"\0\0', b'{"a":1}\n'),
        (b"\0" * 4096, b""),
    ],
)
def test_of_a_torn_journal_whole_lines_count(content: bytes, kept: bytes) -> None:
    assert whole_lines(content) == kept


def test_what_a_crash_left_is_sealed_before_the_first_request(home: Home) -> None:
    left = [left_behind(home, b'{"event_id":"a"}\n{"event_id":"b"}\n'), left_behind(home, b'{"event_id":"c"}\n{"ev', 2)]
    with collecting(home) as client:
        assert stored_ids(home) == ["a", "b", "c"]
        assert not any(path.exists() for path in left)
        post(client, *named("d"))
    assert stored_ids(home) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("taken_in", [False, True])
def test_a_journal_whose_segment_is_there_already_is_not_sealed_again(home: Home, taken_in: bool) -> None:
    text = b"".join(line + b"\n" for line in (b'{"event_id":"a"}', b'{"event_id":"b"}'))
    write_segment(home.landing / "player_events", STREAM, 0, 2, text, runs=((1, 0),))
    if taken_in:
        home.ingest()
    left_behind(home, text)
    with collecting(home) as client:
        assert len(list((home.landing / "player_events").glob("*.zst"))) == (0 if taken_in else 1)
        post(client, *named("c"))
    if not taken_in:
        assert stored_ids(home) == ["a", "b", "c"]
    home.ingest()
    stretches = home.ledger().sort("begin_position").select("begin_position", "end_position").rows()
    assert stretches == [(0, 2), (2, 3)]


def test_two_collectors_of_one_name_do_not_run_at_once(home: Home) -> None:
    with collecting(home) as client:
        with pytest.raises(PlatformError, match="Another collector"), collecting(home):
            pass
        assert post(client, *named("b")).status_code == 202
        with collecting(home, name="second") as second:
            assert post(second, *named("c")).status_code == 202


KILLED = [
    f"{name}:{when}:{number}"
    for name in ("write", "fdatasync", "turn", "fsync", "rename", "unlink")
    for when in ("before", "after")
    for number in (1, 2)
]
WRITER = """
import os, sys
from pathlib import Path
from data_platform.core.lake.store import Lake
from data_platform.sources.http.journal import Journal
from data_platform_tests.support.kill_points import arm

POINTS = {"write": (os, "write"), "fdatasync": (os, "fdatasync"), "turn": (Journal, "turn"), "fsync": (os, "fsync"),
          "rename": (Path, "rename"), "unlink": (Path, "unlink")}
root, points = Path(sys.argv[1]), sys.argv[2:]

def append_until_killed(journal, point, acknowledged):
    arm(POINTS, point)
    for number in range(6):
        ids = [f"{point}-{number}-{part}" for part in range(3)]
        journal.append("".join(f'{{"event_id":"{one}"}}\\n' for one in ids).encode(), len(ids))
        os.writev(acknowledged, [f"{one}\\n".encode() for one in ids])
        if number % 2:
            journal.turn().seal()

for point in points:
    folder = root / point.replace(":", "-")
    folder.mkdir(parents=True)
    lake = Lake(str(root / "lake"))
    with (folder / "acknowledged").open("wb") as acknowledged:
        journal = Journal.recover(lake, folder, "http:collector")
        child = os.fork()
        if not child:
            append_until_killed(journal, point, acknowledged.fileno())
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -9, (point, status)
    journal = Journal.recover(lake, folder, "http:collector")
    journal.append(b'{"event_id":"last"}\\n', 1)
    journal.turn().seal()
"""


def test_a_journal_killed_at_any_call_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), *KILLED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for point in KILLED:
        folder = tmp_path / point.replace(":", "-")
        stored = [json.loads(line)["event_id"] for line in stored_lines(folder)]
        acknowledged = (folder / "acknowledged").read_text().split()
        sent = [f"{point}-{number}-{part}" for number in range(6) for part in range(3)]
        assert stored[-1] == "last"
        assert stored[:-1] == sent[: len(stored) - 1], "in order, each once"
        assert acknowledged == sent[: len(acknowledged)]
        assert len(acknowledged) <= len(stored) - 1


# ---------------------------------------------------------------------- disks that fail
class Fails:
    """A call that fails now and then, as `fails` says of its number."""

    def __init__(self, original: Callable[..., Any], fails: Callable[[int], bool], number: int = errno.ENOSPC) -> None:
        self.original, self.fails, self.number, self.calls = original, fails, number, 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.fails(self.calls):
            if self.original is os.write:  # a disk that fills in the middle of a line
                os.writev(arguments[0], [bytes(arguments[1])[: len(arguments[1]) // 2]])
            raise OSError(self.number, os.strerror(self.number))
        return self.original(*arguments, **named)


@pytest.mark.parametrize("call", ["write", "fdatasync", "ftruncate", "open"])
def test_what_a_disk_refuses_is_not_acknowledged_and_later_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    failing = Fails(getattr(os, call), lambda number: number % 3 == 1)
    if call == "ftruncate":
        monkeypatch.setattr(os, "write", Fails(os.write, lambda number: number == 2))
    acknowledged = []
    with collecting(home) as client:
        monkeypatch.setattr(journal.os, call, failing)
        for number in range(12):
            answer = post(client, *named(f"{number}", f"{number}b"))
            assert answer.status_code in (202, 503), answer.text
            if answer.status_code == 202:
                acknowledged += [f"{number}", f"{number}b"]
            else:
                assert int(answer.headers["retry-after"]) > 0
        monkeypatch.undo()
    assert failing.calls
    assert 2 <= len(acknowledged) < 24
    assert stored_ids(home) == acknowledged


def test_a_seal_that_fails_is_done_later_and_nothing_is_lost(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "RETRY_SECONDS", 0.05)
    broken = threading.Event()
    broken.set()
    sealed = journal.write_segment

    def write_segment(*arguments: Any, **named: Any) -> Path:
        if broken.is_set():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return sealed(*arguments, **named)

    monkeypatch.setattr(journal, "write_segment", write_segment)
    monkeypatch.setattr(intake, "MOST_UNSEALED", 5_000)
    with collecting(home) as client:
        answers = []
        for number in range(60):
            answers.append(post(client, *named(f"{number}")).status_code)
            time.sleep(0.01)
        assert set(answers) == {202, 429}, "more is not taken than a start can recover"
        broken.clear()
        time.sleep(1)
        assert post(client, *named("later")).status_code == 202
    taken = [f"{number}" for number, status in enumerate(answers) if status == 202]
    assert stored_ids(home) == [*taken, "later"]


def test_a_disk_that_is_behind_takes_no_more_and_says_when_to_come_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BEHIND_SECONDS", 0.2)
    goes_on, synced = threading.Event(), os.fdatasync

    def fdatasync(descriptor: int) -> None:
        goes_on.wait(30)
        synced(descriptor)

    with collecting(home) as client, ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(journal.os, "fdatasync", fdatasync)
        waiting = [pool.submit(post, client, *named(f"w{number}")) for number in range(3)]
        time.sleep(0.5)
        late = [post(client, *named("late")) for _ in range(20)]
        assert {(one.status_code, one.headers["retry-after"]) for one in late} == {(429, "1")}
        assert not any(one.done() for one in waiting), "202 only when it is on the disk"
        goes_on.set()
        assert [one.result().status_code for one in waiting] == [202] * 3
        assert post(client, *named("after")).status_code == 202
    assert sorted(stored_ids(home)) == ["after", "w0", "w1", "w2"]


def test_bodies_that_do_not_fit_into_memory_are_told_to_come_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "MOST_HELD", 30_000)
    large = named("x" * 100) * 300
    with collecting(home) as client:
        assert post(client, *large).status_code == 429
        assert client.post("/v1/events", content=iter([b"["] + [b" " * 1000] * 100), headers=JSON).status_code == 429
        assert post(client, *named("small")).status_code == 202, "what was held is given back"
    assert stored_ids(home) == ["small"]


def test_a_journal_begins_anew_behind_what_it_sealed(tmp_path: Path) -> None:
    one = Journal(tmp_path, STREAM, 5)
    assert one.turn() is None
    one.append(b"{}\n{}\n", 2)
    closed = one.turn()
    assert closed is not None
    one.append(b"{}\n", 1)
    assert (closed.begin, one.position, closed.seal()) == (5, 8, 7)
