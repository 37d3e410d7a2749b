"""Vectors in PostgreSQL: every number as the lake has it, the nearest by an index where the server has pgvector, an
array and a word where it has not. On a real PostgreSQL. Not here: other columns (test_publication)."""

from __future__ import annotations

import datetime as dt
import re
import struct
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import polars as pl
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_platform.bi.vectors import ARRAY, HALFVEC, as_text
from data_platform.core.contract.published import Published
from data_platform.core.contract.table import HalfVector, Personal, Table, column
from data_platform.core.lake.store import Lake
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.search.vectors import packed
from data_platform_tests.support.published_lake import Server
from data_platform_tests.support.search_rows import CountingModel, changed, embedded, open_answer, spoken, texts_of
from data_platform_tests.support.search_rows import publish as put

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "research.md"
JANUARY, FEBRUARY = dt.date(2026, 1, 31), dt.date(2026, 2, 1)


class Points(Table):
    """Points of the day."""

    key = "testing/points"
    partition = "day"
    primary_key = ("day", "name")
    owner = "team:testing"
    published = Published(personal=("place",))

    day: dt.date = column("Day.")
    name: str = column("The point.")
    place: HalfVector | None = column("Where it is.", personal=Personal.CONTENT)


def points(day: dt.date, places: dict[str, bytes | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"day": [day] * len(places), "name": list(places), "place": [*places.values()]}, Points.schema()
    )


def halves(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}e", *numbers)


@pytest.fixture
def with_pgvector(server: Server) -> Server:
    with server.as_admin() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    return server


@pytest.fixture
def without_pgvector(server: Server) -> Server:
    """It is on the server, and who publishes may not create it."""
    with server.as_admin() as connection:
        connection.execute("DROP EXTENSION IF EXISTS vector CASCADE")
    return server


HALVES = st.floats(width=16, allow_nan=False, allow_infinity=False)
ANY = (
    st.none() | st.lists(st.floats(width=16), max_size=5).map(lambda numbers: halves(*numbers)) | st.binary(max_size=7)
)


@given(st.lists(ANY, max_size=12), st.sampled_from([HALFVEC, ARRAY]))
@example([halves(6e-8, -0.0, 65504), halves(float("nan")), halves(1, float("inf")), b"", b"x"], HALFVEC)
def test_a_vector_is_told_number_by_number(vectors: list[bytes | None], kind: str) -> None:
    found = as_text(pl.Series("v", vectors, dtype=pl.Binary), kind).to_list()
    ends = ("[", "]") if kind == HALFVEC else ("{", "}")
    for vector, text in zip(vectors, found, strict=True):
        numbers = struct.unpack(f"<{len(vector) // 2}e", vector) if vector and len(vector) % 2 == 0 else ()
        if not numbers or not np.isfinite(numbers).all():
            assert text is None
        else:
            assert (text[0], text[-1]) == ends
            assert [np.float32(number) for number in text[1:-1].split(",")] == [*numbers], "as PostgreSQL reads them"


def test_every_number_is_the_lake_s_in_halfvecs_and_in_arrays(without_pgvector: Server, tmp_path: Path) -> None:
    server, lake = without_pgvector, Lake(str(tmp_path))
    given = {"a": halves(0.1, -2.5), "b": halves(6e-8, 65504, 1 / 3), "c": None, "d": halves(1, float("nan"))}
    lake.replace(Points, points(JANUARY, given), [JANUARY])
    (done,) = server.publish(lake, Points)
    (note,) = done.notes
    assert "analytics.points: place is an array of numbers" in note
    assert "CREATE EXTENSION vector" in note
    rows = "SELECT name, place::real[] FROM analytics.points ORDER BY name"
    numbers = {name: None if value is None else halves(*value) for name, value in server.rows(rows)}
    assert numbers == given | {"d": None}

    with server.as_admin() as connection:
        connection.execute("CREATE EXTENSION vector")
    lake.replace(Points, points(FEBRUARY, {"e": halves(0.5)}), [FEBRUARY])
    (done,) = server.publish(lake, Points)
    assert done.notes == (note,), "what is there stays as it is, and as readers know it"
    with server.as_admin() as connection:
        connection.execute("DROP TABLE analytics.points")
    (done,) = server.publish(lake, Points)
    assert (done.notes, done.loaded) == ((), ("2026-01", "2026-02"))
    numbers = {name: None if value is None else halves(*value) for name, value in server.rows(rows)}
    assert numbers == given | {"d": None, "e": halves(0.5)}
    kind = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'analytics.points'::regclass"
    assert ("halfvec",) in server.rows(kind + " AND attname = 'place'")  # type: ignore[operator]
    assert not server.publish(lake, Points)[0].loaded, "nothing changed"


def test_the_nearest_come_from_the_index_of_each_month(with_pgvector: Server, tmp_path: Path) -> None:
    server, lake = with_pgvector, Lake(str(tmp_path))
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((400, 8)).astype(np.float32)
    days = [JANUARY if number % 2 else FEBRUARY for number in range(400)]
    rows = pl.DataFrame(
        {"day": days, "name": [f"{n:03}" for n in range(400)], "place": packed(vectors)}, Points.schema()
    )
    others = points(JANUARY, {"of three": halves(1, 2, 3), "none": None})
    lake.replace(Points, pl.concat([rows, others]), [JANUARY, FEBRUARY])
    assert server.publish(lake, Points)[0].notes == ()
    halved = vectors.astype(np.float16).astype(np.float64)
    wanted = halved[7] @ halved.T / np.linalg.norm(halved, axis=1)
    nearest = [f"{n:03}" for n in np.argsort(-wanted)[:5]]
    query: LiteralString = (
        "SELECT name FROM analytics.points WHERE vector_dims(place) = 8 ORDER BY place::halfvec(8) <=>"
        " (SELECT place::halfvec(8) FROM analytics.points WHERE name = '007') LIMIT 5"
    )
    with server.as_reader() as reader:
        assert [name for (name,) in reader.execute(query).fetchall()] == nearest
        reader.execute("SET enable_seqscan = off")
        plan = "\n".join(line for (line,) in reader.execute("EXPLAIN " + query).fetchall())
        assert [name for (name,) in reader.execute(query).fetchall()] == nearest
    assert len(re.findall(r"Index Scan using points_2026_0[12]_\w+_place_idx", plan)) == 2, plan


def test_the_query_of_the_guide_finds_what_is_nearest_to_a_text(with_pgvector: Server, tmp_path: Path) -> None:
    server, lake = with_pgvector, Lake(str(tmp_path))

    class Wide(CountingModel):
        dimensions = 384

    model = Wide()
    events = [spoken(f"Said {n}.", n, discussion_id="discussion-1-1", tenant_id="aurora-games") for n in range(1, 30)]
    answers = [open_answer("Said 5.", tenant_id="aurora-games"), open_answer("Said 5.", "a-2", tenant_id="another")]
    put(lake, embedded(texts_of(events, [changed()], answers=answers), model))
    server.publish(lake, Embeddings)
    (query,) = re.findall(r"```sql\n(SELECT .+?)```", GUIDE.read_text(), re.S)
    with server.as_operator() as reader:
        found: list[tuple[Any, ...]] = reader.execute(query).fetchall()
    assert {row[-1] for row in found[:2]} == {"Said 5."}, "the text itself, and the answer that says the same"
    distances = [row[0] for row in found]
    assert distances == sorted(distances)
    assert distances[0] == pytest.approx(0, abs=1e-3) != pytest.approx(distances[2], abs=1e-2)
    assert len(found) == 10


def test_operators_alone_may_read_what_tenants_said_and_nobody_may_write_it(
    with_pgvector: Server, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path))
    put(lake, embedded(texts_of([spoken("Too dear.\0")]), CountingModel()))
    (done,) = with_pgvector.publish(lake, Embeddings)
    assert dict(done.nul_rows) == {"text": 1}
    for _ in range(2):
        with with_pgvector.as_operator() as operator:
            assert operator.execute("SELECT text FROM analytics.embeddings").fetchall() == [("Too dear.\ufffd",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                operator.execute("DELETE FROM analytics.embeddings")
        with with_pgvector.as_reader() as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT text FROM analytics.embeddings")
        with_pgvector.publish(lake, Embeddings)
