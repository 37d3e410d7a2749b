"""What goes wrong between a player's device and the landing folder: every kind of dirt, how often, and what a correct
platform must say about it (the verdict).

Each bad line has exactly one fault, so the reason it is rejected for is never a matter of taste.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from data_platform.domains.gameplay.simulation.events import FRAGMENTS, Texts, fragments, lines
from data_platform.domains.gameplay.simulation.truth import RAW_REASONS, VERDICTS
from data_platform.simulation.text import DAY, HOUR, MINUTE, Ints, iso_fragment

# Changes the fragments of some rows (which also have `at` and `client` in ms). One of a kind's edits hits each row.
Edit = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class Kind:
    """A kind of dirt: the share of events it befalls, the verdict on them, and the ways it looks."""

    name: str
    rate: float
    verdict: str
    edits: tuple[Edit, ...]


def _set(field: str, fragment: str | None) -> Edit:
    """Replace a field by another fragment, or leave it out."""
    return lambda rows, rng: rows.with_columns(pl.lit(fragment, pl.String).alias(field))


def _without_event_id(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Leave out the first field, and so let the second open the object."""
    return rows.with_columns(pl.lit(None, pl.String).alias("event_id"), player_id=pl.lit("{") + pl.col("player_id"))


def _cut(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    line = lines(rows)["line"]
    keep = (line.str.len_chars().to_numpy() * rng.uniform(0.1, 0.95, len(rows))).astype(np.int64)
    return rows.with_columns(pl.DataFrame({"l": line, "keep": keep}).select(verbatim=pl.col("l").str.head("keep")))


def _verbatim(text: str) -> Edit:
    return _set("verbatim", text)


def _in_year(date: str) -> Edit:
    fragment = pl.format(
        '"timestamp":"{}{}', pl.lit(date), pl.col("timestamp").str.slice(len('"timestamp":"2024-01-01'))
    )
    return lambda rows, rng: rows.with_columns(fragment.alias("timestamp"))


def _wrong_clock(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    off = rng.integers(2 * MINUTE, 12 * HOUR, len(rows)) * rng.choice([-1, 1], len(rows))
    return rows.with_columns(client=pl.col("client") + off).with_columns(
        iso_fragment("client_timestamp", "client").alias("client_timestamp")
    )


KINDS = (
    Kind("cut JSON", 0.0010, "invalid_json", (_cut,)),
    Kind("plain text", 0.0005, "invalid_json", (_verbatim("ERROR 504 upstream timed out"), _verbatim("-- MARK --"))),
    Kind("JSON array", 0.0005, "not_an_object", (_verbatim('["login","combat_start",3]'), _verbatim("[]"))),
    Kind(
        "no event id",
        0.0009,
        "missing_event_id",
        (_without_event_id, _set("event_id", '{"event_id":null'), _set("event_id", '{"event_id":""')),
    ),
    Kind(
        "no player id",
        0.0009,
        "missing_player_id",
        (_set("player_id", None), _set("player_id", '"player_id":null'), _set("player_id", '"player_id":""')),
    ),
    Kind("no timestamp", 0.0006, "missing_timestamp", (_set("timestamp", None), _set("timestamp", '"timestamp":null'))),
    Kind("numeric player id", 0.0005, "wrong_type_player_id", (_set("player_id", '"player_id":40417'),)),
    Kind("text as event data", 0.0005, "wrong_type_event_data", (_set("event_data", '"event_data":"gold=12"'),)),
    Kind("future", 0.0005, "timestamp_in_future", (_in_year("2099-01-01"),)),
    Kind("long ago", 0.0005, "timestamp_before_first_day", (_in_year("1999-12-31"),)),
    Kind(
        "no event type",
        0.0010,
        "missing_event_type",
        (_set("event_type", None), _set("event_type", '"event_type":null')),
    ),
    Kind("client clock skew", 0.0100, "clean", (_wrong_clock,)),
    Kind(
        "unknown field",
        0.0200,
        "clean",
        (
            _set("extra", '"guild_id":"guild-0417"'),
            _set("extra", '"experiment":{"name":"new_tutorial","arm":2}'),
            _set("extra", '"guild_id":null,"fps":58.5'),
        ),
    ),
    Kind("no session id", 0.0100, "clean", (_set("session_id", None), _set("session_id", '"session_id":null'))),
)
LATE = 0.03  # of events, up to seven days; of dirty events and of copies, one in ten
CONFLICTS = 0.004  # a second line with the same event_id and date but other event_data
DUPLICATES = 0.02  # the same line once more
_LATE_AMONG_DIRTY = 0.1
_LATEST = 7 * DAY

_DUPLICATE, _CONFLICT = VERDICTS.index("duplicate"), VERDICTS.index("conflicting_duplicate")


def soil(
    events: pl.DataFrame, texts: Texts, first: int, end: int, day: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make a day's events dirty: the rows left as they were, and the strays.

    Strays are FRAGMENTS (or a `verbatim` line) with `arrives` (ms), `event_day` (null where raw rejects the line) and
    `verdict`. `first` and `end` bound the day and the simulation in ms: what would arrive after `end` arrives just
    before it.
    """
    count = len(events)
    order, taken = rng.permutation(count), 0

    def draw(rate: float) -> Ints:
        nonlocal taken
        share = order[taken : taken + int(count * rate + rng.random())]
        taken += len(share)
        return share

    def late(rows: pl.DataFrame, rate: float) -> pl.DataFrame:
        at = rows["at"].to_numpy()
        tomorrow = first + DAY
        overdue = tomorrow + (rng.random(len(at)) * (at + _LATEST - tomorrow)).astype(np.int64)
        arrives = np.where(rng.random(len(at)) < rate, overdue, rows["arrives"].to_numpy())
        return rows.with_columns(pl.Series("arrives", np.minimum(arrives, end - 1)))

    def render(slots: Ints) -> pl.DataFrame:
        rows = events[np.sort(slots)]
        judged = {"arrives": pl.col("at"), "event_day": pl.lit(day, pl.Int64), "verdict": pl.lit(0, pl.UInt8)}
        return pl.concat(
            [
                rows.select("at", "client", **judged),
                fragments(rows, texts).with_columns(pl.lit(None, pl.String).alias("verbatim")),
            ],
            how="horizontal",
        )

    strays = [late(render(draw(LATE)), 1.0)]
    for kind in KINDS:
        hit = draw(kind.rate)
        rejected = kind.verdict in RAW_REASONS
        for number, edit in enumerate(kind.edits):
            rows = edit(render(hit[number :: len(kind.edits)]), rng).with_columns(
                pl.lit(VERDICTS.index(kind.verdict), pl.UInt8).alias("verdict"),
                pl.lit(None if rejected else day, pl.Int64).alias("event_day"),
            )
            strays.append(late(rows, _LATE_AMONG_DIRTY))
    untouched = np.ones(count, np.bool_)
    untouched[order[:taken]] = False

    contested = render(draw(CONFLICTS))
    claims = _contradict(contested, first, rng)
    stored = pl.concat(strays).filter(pl.col("event_day").is_not_null())
    copies = pl.concat(
        [
            render(draw(DUPLICATES)),
            _some(contested, 0.2, rng),  # so that some ids come three times, and some losing lines twice
            _some(claims, 0.2, rng),
            _some(stored, 0.05, rng),
        ]
    ).with_columns(pl.lit(_DUPLICATE, pl.UInt8).alias("verdict"))
    for again in (claims, copies):
        resent = again.with_columns(arrives=pl.col("at") + pl.Series(rng.integers(0, 10 * MINUTE, len(again))))
        strays.append(late(resent, _LATE_AMONG_DIRTY))
    return events.filter(untouched), pl.concat(strays).drop("at", "client")


def _contradict(rows: pl.DataFrame, first: int, rng: np.random.Generator) -> pl.DataFrame:
    """Copies of rows that say something else: other event_data, and for half of them a moment later the same day."""
    delay = rng.integers(1, 900, len(rows)) * rng.integers(0, 2, len(rows))
    last = first + DAY - 1
    data = pl.col("event_data").str.head(-1) + pl.lit(',"corrected":true}')
    return rows.with_columns(
        at=pl.min_horizontal(pl.col("at") + pl.Series(delay), last),
        event_data=data,
        verdict=pl.lit(_CONFLICT, pl.UInt8),
    ).with_columns(iso_fragment("timestamp", "at").alias("timestamp"))


def _some(rows: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    return rows.filter(pl.Series(rng.random(len(rows)) < share))


def stray_lines(strays: pl.DataFrame) -> pl.DataFrame:
    """Strays as the column `line`."""
    return strays.select(pl.coalesce("verbatim", lines(strays)["line"]).alias("line"))


def no_strays() -> pl.DataFrame:
    """An empty frame of strays."""
    text = {name: pl.String for name in (*FRAGMENTS, "verbatim")}
    return pl.DataFrame(schema={"arrives": pl.Int64, "event_day": pl.Int64, "verdict": pl.UInt8, **text})
