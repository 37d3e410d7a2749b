"""Episodes, mutes and unsent messages on disk, for several processes: one transaction per look.
Belongs here: the SQLite file `alerts.sqlite` of a home. Not here: the rules (episodes), the sending (delivery)."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from data_platform.observability.alerts.episodes import Episode, Mute, Notification, State, advance
from data_platform.observability.alerts.messages import Message
from data_platform.observability.alerts.problems import Findings, Level, Problem

KEPT = dt.timedelta(days=30)
"""Closed episodes and what was sent are forgotten after this."""
CLOCK_SET_BACK = dt.timedelta(minutes=10)
LEASE = dt.timedelta(minutes=2)
"""For so long a message that is being sent belongs to the process that sends it."""
FIRST_WAIT, LONGEST_WAIT = dt.timedelta(seconds=30), dt.timedelta(minutes=30)
GIVEN_UP_AFTER = dt.timedelta(days=3)

SCHEMA = """
CREATE TABLE IF NOT EXISTS episodes (
    key TEXT PRIMARY KEY, severity INTEGER NOT NULL, opened_at TEXT NOT NULL, last_seen TEXT NOT NULL, closed_at TEXT,
    count INTEGER NOT NULL, notified_level INTEGER, notified_at TEXT, told_open INTEGER NOT NULL,
    silenced INTEGER NOT NULL, quiet_until TEXT, problem TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mutes (pattern TEXT PRIMARY KEY, until TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL, level INTEGER NOT NULL,
    owner TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL, good_news INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    message INTEGER NOT NULL REFERENCES messages, channel TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    next_at TEXT NOT NULL, sent_at TEXT, given_up_at TEXT, PRIMARY KEY (message, channel));
CREATE TABLE IF NOT EXISTS looks (only INTEGER PRIMARY KEY CHECK (only = 1), looked_at TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Delivery:
    """A message on its way to one channel; `attempts` counts those that failed."""

    message: Message
    number: int
    channel: str
    attempts: int
    created_at: dt.datetime


class AlertStore:
    """What is known and what was said. Open one per process; its methods may be called from any thread."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.path = home / "alerts.sqlite"
        with self._transaction() as db:
            for statement in filter(str.strip, SCHEMA.split(";")):
                db.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and alone: other writers wait."""
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()  # rolls back what was not committed

    # -------------------------------------------------------------------------------------- episodes
    def state(self) -> State:
        with self._transaction() as db:
            return _state(db)

    def open_since(self) -> dt.datetime | None:
        """Since when the oldest open problem lasts."""
        lasting = [e.problem.since for e in self.state().episodes.values() if e.closed_at is None]
        return min(lasting, default=None)

    def take_in(
        self,
        look: Findings,
        now: dt.datetime,
        message_of: Callable[[Notification], Message],
        channels: Callable[[Message], Sequence[str]],
    ) -> list[Message]:
        """Advance the episodes by a look at `now` and queue what must be said, in one transaction; returns that.

        A look that is older than the last one taken in is dropped: a slow process must not undo what a faster one saw.
        """
        with self._transaction() as db:
            row = db.execute("SELECT looked_at FROM looks").fetchone()
            if row and dt.timedelta(0) < _time(row["looked_at"]) - now < CLOCK_SET_BACK:
                return []
            before = _state(db)
            after, said = advance(before, look.problems, now, look.unseen)
            for key, episode in after.episodes.items():
                if episode is not before.episodes.get(key):
                    _save(db, episode)
            db.execute("INSERT OR REPLACE INTO looks VALUES (1, ?)", (now.isoformat(),))
            _forget(db, now)
            messages = [message_of(notification) for notification in said]
            return [message for message in messages if _queue(db, message, channels(message), now)]

    def queue(self, message: Message, channels: Sequence[str], now: dt.datetime) -> bool:
        """Have a message sent to the channels, unless one of this id ever was; returns whether it is new."""
        with self._transaction() as db:
            return _queue(db, message, channels, now)

    # ----------------------------------------------------------------------------------------- mutes
    def mute(self, pattern: str, until: dt.datetime) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO mutes VALUES (?, ?)", (pattern, until.isoformat()))

    def unmute(self, pattern: str) -> bool:
        """End a mute early; False when there is none of that pattern."""
        with self._transaction() as db:
            return db.execute("DELETE FROM mutes WHERE pattern = ?", (pattern,)).rowcount > 0

    # ------------------------------------------------------------------------------------ deliveries
    def claim(self, channel: str, now: dt.datetime) -> Delivery | None:
        """The oldest message that waits for the channel, if its time has come; for two minutes nobody else gets it.

        A later message waits behind it, so a channel hears things in the order they happened.
        """
        with self._transaction() as db:
            row = db.execute(
                "SELECT * FROM deliveries JOIN messages ON number = message "
                "WHERE channel = ? AND sent_at IS NULL AND given_up_at IS NULL ORDER BY number LIMIT 1",
                (channel,),
            ).fetchone()
            if row is None or _time(row["next_at"]) > now:
                return None
            db.execute(
                "UPDATE deliveries SET next_at = ? WHERE message = ? AND channel = ?",
                ((now + LEASE).isoformat(), row["number"], channel),
            )
            message = Message(
                row["id"], Level(row["level"]), row["owner"], row["title"], row["body"], bool(row["good_news"])
            )
            return Delivery(message, row["number"], channel, row["attempts"], _time(row["created_at"]))

    def sent(self, delivery: Delivery, now: dt.datetime) -> None:
        with self._transaction() as db:
            at = (now.isoformat(), delivery.number, delivery.channel)
            db.execute("UPDATE deliveries SET sent_at = ? WHERE message = ? AND channel = ?", at)

    def failed(self, delivery: Delivery, now: dt.datetime) -> bool:
        """Try again after 30 s, 1 min, 2 min … 30 min; after three days no more, which returns False."""
        wait = min(FIRST_WAIT * 2 ** min(delivery.attempts, 10), LONGEST_WAIT)
        over = now - delivery.created_at > GIVEN_UP_AFTER
        with self._transaction() as db:
            db.execute(
                "UPDATE deliveries SET attempts = ?, next_at = ?, given_up_at = ? WHERE message = ? AND channel = ?",
                (delivery.attempts + 1, (now + wait).isoformat(), now.isoformat() if over else None,
                 delivery.number, delivery.channel),
            )  # fmt: skip
        return not over

    def waiting(self) -> dict[str, int]:
        """Channel → messages that are not sent yet."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT channel, count(*) FROM deliveries WHERE sent_at IS NULL AND given_up_at IS NULL GROUP BY 1"
            )
            return {channel: count for channel, count in rows}

    def drop_other_channels(self, channels: Sequence[str], now: dt.datetime) -> int:
        """Give up what waits for channels that are configured no more; returns how many messages."""
        gone = [channel for channel in self.waiting() if channel not in channels]
        with self._transaction() as db:
            return sum(
                db.execute(
                    "UPDATE deliveries SET given_up_at = ? "
                    "WHERE channel = ? AND sent_at IS NULL AND given_up_at IS NULL",
                    (now.isoformat(), channel),
                ).rowcount
                for channel in gone
            )


def _queue(db: sqlite3.Connection, message: Message, channels: Sequence[str], now: dt.datetime) -> bool:
    added = db.execute(
        "INSERT OR IGNORE INTO messages (id, created_at, level, owner, title, body, good_news) VALUES (?,?,?,?,?,?,?)",
        (message.id, now.isoformat(), int(message.level), message.owner, message.title, message.body,
         int(message.good_news)),
    )  # fmt: skip
    if not added.rowcount:
        return False
    for channel in dict.fromkeys(channels):
        db.execute(
            "INSERT INTO deliveries (message, channel, next_at) VALUES (?, ?, ?)",
            (added.lastrowid, channel, now.isoformat()),
        )
    return True


def _state(db: sqlite3.Connection) -> State:
    episodes = {row["key"]: _episode(row) for row in db.execute("SELECT * FROM episodes")}
    mutes = [Mute(row["pattern"], _time(row["until"])) for row in db.execute("SELECT * FROM mutes ORDER BY pattern")]
    return State(episodes, mutes)


def _episode(row: sqlite3.Row) -> Episode:
    fields = json.loads(row["problem"])
    fields |= {
        "level": Level(fields["level"]),
        "since": _time(fields["since"]),
        "sample": tuple(fields["sample"]),
        "explained_by": tuple(fields["explained_by"]),
    }
    return Episode(
        problem=Problem(**fields),
        opened_at=_time(row["opened_at"]),
        last_seen=_time(row["last_seen"]),
        count=row["count"],
        closed_at=_maybe_time(row["closed_at"]),
        notified_level=Level(row["notified_level"]) if row["notified_level"] is not None else None,
        notified_at=_maybe_time(row["notified_at"]),
        notified_open=bool(row["told_open"]),
        silenced=bool(row["silenced"]),
        quiet_until=_maybe_time(row["quiet_until"]),
    )


def _save(db: sqlite3.Connection, episode: Episode) -> None:
    problem = asdict(episode.problem) | {"since": episode.problem.since.isoformat()}
    times = (episode.opened_at, episode.last_seen, episode.closed_at, episode.notified_at, episode.quiet_until)
    opened, seen, closed, notified, quiet = (moment.isoformat() if moment else None for moment in times)
    db.execute(
        "INSERT OR REPLACE INTO episodes (key, severity, opened_at, last_seen, closed_at, count, notified_level, "
        "notified_at, told_open, silenced, quiet_until, problem) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (episode.problem.key, int(episode.problem.level), opened, seen, closed, episode.count, episode.notified_level,
         notified, int(episode.notified_open), int(episode.silenced), quiet, json.dumps(problem)),
    )  # fmt: skip


def _forget(db: sqlite3.Connection, now: dt.datetime) -> None:
    """Times are UTC in one format, so their text sorts as they do."""
    before = (now - KEPT).isoformat()
    db.execute("DELETE FROM episodes WHERE closed_at < ?", (before,))
    db.execute("DELETE FROM mutes WHERE until < ?", (now.isoformat(),))
    db.execute("DELETE FROM deliveries WHERE message IN (SELECT number FROM messages WHERE created_at < ?)", (before,))
    db.execute("DELETE FROM messages WHERE created_at < ?", (before,))


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _maybe_time(text: str | None) -> dt.datetime | None:
    return _time(text) if text else None
