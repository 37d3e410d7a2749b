"""The point-in-time join against a naive bitemporal oracle: ties, nulls, duplicates, corrections, deletions, TTL edges.
Not here: the journal by itself (test_feature_history), the client's manners (test_feature_store)."""

from __future__ import annotations

import datetime as dt
import random
import tempfile
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.contract.table import Table, column
from data_platform.core.lake import bitemporal
from data_platform.core.lake.store import Lake
from data_platform.features.store import point_in_time
from data_platform.features.store.entities import as_entities
from data_platform.features.store.historical import HistoricalFeatures, Wanted
from data_platform.features.store.point_in_time import Source
from data_platform_tests.support.bitemporal_oracle import DAY, Oracle, Value, end_of

FIRST = dt.date(2024, 1, 1)
DAYS = 7
PLAYERS = ("ann", "bob", "cid")
TICK = dt.timedelta(microseconds=1)
UTC_TIME = pl.Datetime("us", "UTC")


def scores() -> type[Table]:
    class Scores(Table):
        """How each player stood at the end of a day."""

        key = "testing/scores"
        partition = "snapshot_date"
        primary_key = ("snapshot_date", "player_id")
        owner = "team:testing"
        bitemporal = True

        snapshot_date: dt.date = column("Day.")
        player_id: str = column("Player.")
        score: float | None = column("Points.")
        double: float | None = column("Twice the points.")

    return Scores


SCORES = scores()


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(number)


class Made:
    """A lake and an oracle that are told the same."""

    def __init__(self, folder: str) -> None:
        self.lake, self.oracle = Lake(folder), Oracle()

    def publish(
        self, moment: dt.datetime, days: dict[dt.date, dict[str, Value]], *, commit_fails: bool = False
    ) -> None:
        rows = [(one, player, value) for one, found in days.items() for player, value in found.items()]
        random.Random(0).shuffle(rows)
        schema = {"snapshot_date": pl.Date, "player_id": pl.String, "score": pl.Float64}
        frame = pl.DataFrame(rows, schema, orient="row")
        staged = self.lake.stage(SCORES, frame.with_columns(double=pl.col("score") * 2))
        lake = _Broken(self.lake.root) if commit_fails else self.lake
        try:
            bitemporal.commit(lake, SCORES, staged, [str(one) for one in days], clock=lambda: moment)
        except ConnectionError:
            assert commit_fails
        else:
            self.oracle.publications.append((moment, days))

    def features(
        self, rows: Sequence[tuple[str | None, dt.datetime, dt.datetime | None]], ttl: dt.timedelta | None, mode: str
    ) -> pl.DataFrame:
        """The join for entity rows (player, moment, known at); `mode`: newest, column or one (the first row's)."""
        schema = {"player_id": pl.String, "event_timestamp": UTC_TIME, "known": UTC_TIME}
        entities = pl.DataFrame(rows, schema, orient="row")
        known_at = {"newest": None, "column": "known", "one": rows[0][2] if rows else None}[mode]
        source = Source(
            bitemporal.open_history(self.lake, SCORES), "snapshot_date", "player_id", ["score", "double"], ttl
        )
        checked = as_entities(entities, "player_id", "event_timestamp", known_at)
        names = ["score", "double"]
        plain = HistoricalFeatures(checked, [Wanted("scores", source, names)]).to_polars()
        found = HistoricalFeatures(checked, [Wanted("scores", source, names)], with_status=True).to_polars()
        assert found.select(plain.columns).equals(plain), "asking for the status changes no value"
        assert plain.select(entities.columns).equals(entities), "rows and their order are the caller's"
        return found


class _Broken(Lake):
    """Dies after the journal was written, before the table is."""

    def commit(self, table, staged, **more):  # type: ignore[no-untyped-def]
        if not table.journal:
            raise ConnectionError
        return super().commit(table, staged, **more)


def assert_as_the_oracle(made: Made, rows: Sequence[tuple], ttl: dt.timedelta | None, mode: str) -> None:  # type: ignore[type-arg]
    answered = made.features(rows, ttl, mode)
    for (player, moment, own), found in zip(rows, answered.iter_rows(named=True), strict=True):
        known_at = {"newest": None, "column": own, "one": rows[0][2]}[mode]
        expected = made.oracle.look_up(player, moment, known_at, ttl)
        got = (found["score__status"], found["scores__snapshot_date"], found["score"])
        assert got == expected, f"{player} at {moment}, known at {known_at}, ttl {ttl}"
        assert found["double"] == (found["score"] * 2 if found["score"] is not None else None)


# ------------------------------------------------------------------------------ any history
moments = st.builds(
    lambda number, hours, nudge: end_of(day(number)) + dt.timedelta(hours=hours) + nudge * TICK,
    st.integers(-2, DAYS + 2), st.sampled_from([0, 0, 1, 12, 23]), st.sampled_from([-1, 0, 0, 1]),
)  # fmt: skip
contents = st.dictionaries(st.sampled_from(PLAYERS), st.sampled_from([None, 0.0, 1.0, 2.0, float("inf")]))
publications = st.lists(
    st.tuples(
        moments,
        st.dictionaries(st.integers(0, DAYS - 1).map(day), contents, min_size=1, max_size=4),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=5,
    unique_by=lambda one: one[0],
).map(lambda found: sorted(found, key=lambda one: one[0]))
asked = st.lists(st.tuples(st.sampled_from([*PLAYERS, "eve", None]), moments, moments), max_size=12)
lives = st.sampled_from([None, dt.timedelta(0), TICK, dt.timedelta(hours=12), DAY, DAY + TICK, 3 * DAY])


cuts = st.sampled_from([(250_000, 2), (1, 1), (1, 2), (1, 3), (2, 2), (1, 8)])
"""Rows of days that are read together, and how many stretches of days are walked side by side."""


def check(history, rows, ttl, mode, cut) -> None:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(point_in_time, "GROUP_ROWS", cut[0])
        patched.setattr(point_in_time, "_side_by_side", lambda: cut[1])
        made = Made(folder)
        for moment, days, fails in history:
            made.publish(moment, days, commit_fails=fails)
        assert_as_the_oracle(made, rows, ttl, mode)
        if rows:
            history_ = bitemporal.open_history(made.lake, SCORES)
            known = bitemporal.scan_as_known(history_, rows[0][2], day(0), day(DAYS)).collect()
            said = {day(n): made.oracle.day_as_known(day(n), rows[0][2]) for n in range(DAYS)}
            expected = {(one, player): value for one, found in said.items() for player, value in found.items()}
            assert {(one, player): value for one, player, value, _ in known.iter_rows()} == expected


@settings(max_examples=120)
@given(publications, asked, lives, st.sampled_from(["newest", "column", "one"]), cuts)
def test_any_history_as_the_oracle(history, rows, ttl, mode, cut) -> None:  # type: ignore[no-untyped-def]
    check(history, rows, ttl, mode, cut)


@pytest.mark.soak
@settings(max_examples=10_000)
@given(publications, asked, lives, st.sampled_from(["newest", "column", "one"]), cuts)
def test_ten_thousand_histories_as_the_oracle(history, rows, ttl, mode, cut) -> None:  # type: ignore[no-untyped-def]
    check(history, rows, ttl, mode, cut)


@pytest.mark.parametrize("group_rows", [1, 20_000])
def test_ten_thousand_players_with_histories_of_their_own(tmp_path, monkeypatch, group_rows: int) -> None:  # type: ignore[no-untyped-def]
    """Days are as large as they are read one by one, and as small as they are read together."""
    monkeypatch.setattr(point_in_time, "GROUP_ROWS", group_rows)
    generator = random.Random(group_rows)
    made, players = Made(str(tmp_path)), [f"p{number}" for number in range(10_000 if group_rows > 1 else 1_000)]
    moment = end_of(day(0)) + dt.timedelta(hours=2)
    for _ in range(12):
        chosen = generator.sample(range(DAYS), generator.randint(1, 3))
        said = {
            day(number): {one: generator.choice([None, 1.0, 2.0, 3.0]) for one in players if generator.random() < 0.7}
            for number in chosen
        }
        made.publish(moment, said)
        moment += dt.timedelta(hours=generator.randint(1, 30))
    hours = (DAYS + 8) * 24
    rows = [
        (generator.choice(players), end_of(day(0)) + dt.timedelta(hours=generator.randrange(hours)),
         end_of(day(0)) + dt.timedelta(hours=generator.randrange(hours)))
        for _ in range(10_000)
    ]  # fmt: skip
    for mode in ("newest", "column", "one"):
        assert_as_the_oracle(made, rows, 2 * DAY, mode)
