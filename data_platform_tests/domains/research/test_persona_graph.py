"""Which personas are alike, how they group, and who is related to whom: against naive oracles, in any order of rows.
Not here: measures of graphs (test_graph_measures), real profiles (test_graph_real_data)."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.publication import Publication
from data_platform.domains.research.contracts.graph import NEAREST, PersonaCommunities, PersonaSimilarity
from data_platform.domains.research.contracts.registry import Personas
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.graph.related import PersonaGraph, related_personas
from data_platform.domains.research.transforms.persona_communities import persona_communities
from data_platform.domains.research.transforms.persona_similarity import nearest_pairs, persona_similarity
from data_platform.domains.research.transforms.persona_traits import trait_vectors
from data_platform_tests.support.research_rows import NOON, Row, frame
from data_platform_tests.support.search_rows import CountingModel, changed, embedded, texts_of

NOTHING = Embeddings.empty()


def persona(number: int, **changes: object) -> Row:
    """A current version of Personas of t-1."""
    made: Row = {
        "tenant_id": "t-1", "persona_id": f"p-{number:04}", "project_id": f"project-{number % 3}",
        "name": f"N {number}", "segment": "Gamers",
        "demographics": json.dumps({"age": 20 + number % 40, "region": "north"}),
        "personal_values": None, "background": None, "embedding": None, "valid_from": NOON, "is_current": True,
    }  # fmt: skip
    return made | changes


def people(count: int, seed: int = 1) -> pl.DataFrame:
    """Personas of several kinds, in order of id."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        kind = rng.randrange(4)
        traits = {"age": 20 + 15 * kind + rng.randrange(8), "region": f"r{kind}", "hobby": rng.choice("abcdef")}
        rows.append(persona(number, segment=f"s{kind}", demographics=json.dumps(traits)))
    return frame(Personas, rows)


def similarity(personas: pl.DataFrame, texts: pl.DataFrame = NOTHING) -> pl.DataFrame:
    return persona_similarity(personas.lazy(), texts.lazy())


def pairs_of(edges: pl.DataFrame) -> dict[tuple[str, str], float]:
    return {(one, other): cosine for one, other, cosine in edges.select(
        "persona_id", "other_persona_id", "similarity").iter_rows()}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 6), st.integers(1, 8), st.sampled_from([-1.0, 0.2, 0.7]), st.integers(0, 9))
def test_nearest_pairs_are_those_of_a_naive_search(rows: int, wide: int, count: int, least: float, seed: int) -> None:
    """Few different vectors, so that many are as near as others."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, (rows, wide)).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    expected: dict[tuple[int, int], float] = {}
    for one in range(rows):
        others = [(-round(float(vectors[one] @ vectors[at]), 6), at) for at in range(rows) if at != one]
        for negative, other in sorted(others)[:count]:
            if -negative >= least:
                expected[min(one, other), max(one, other)] = -negative
    low, high, cosine = nearest_pairs(vectors, count, least)
    found = dict(zip(zip(low.tolist(), high.tolist(), strict=True), cosine.tolist(), strict=True))
    assert found.keys() == expected.keys()
    assert all(found[pair] == pytest.approx(expected[pair], abs=2e-6) for pair in expected)


def test_more_personas_than_a_block_are_compared_with_all() -> None:
    vectors = np.random.default_rng(3).standard_normal((1_100, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    low, high, _ = nearest_pairs(vectors, 1, -1)
    products = vectors @ vectors.T
    np.fill_diagonal(products, -2)
    nearest = products.argmax(axis=1)
    expected = {(min(one, other), max(one, other)) for one, other in enumerate(nearest.tolist())}
    assert set(zip(low.tolist(), high.tolist(), strict=True)) == expected


def test_the_share_of_traits_in_common_is_the_similarity() -> None:
    rows = frame(Personas, [
        persona(1, demographics='{"gender": "female", "region": "north", "pets": "cat"}'),
        persona(2, demographics='{"gender": "Female ", "region": "north", "pets": "dog"}'),
        persona(3, segment="Cooks", demographics='{"gender": "male", "region": "south", "pets": "emu"}'),
    ])  # fmt: skip
    assert pairs_of(similarity(rows)) == {("p-0001", "p-0002"): 0.75}


def test_numbers_are_alike_by_how_near_they_are() -> None:
    ages = [20, 21, 40, 60]
    rows = [persona(age, segment=None, demographics=json.dumps({"age": age})) for age in ages]
    vectors = trait_vectors(frame(Personas, rows).to_dicts())
    to_first = (vectors @ vectors[0]).tolist()
    assert to_first == pytest.approx([1, 0.99923, 0.7071, 0], abs=1e-4)


def test_own_vectors_come_before_those_of_texts_and_these_before_traits() -> None:
    model = CountingModel()
    texts = embedded(texts_of(personas=[changed(f"p-{n:04}", background=f"story {n}") for n in range(3)]), model)
    own = [json.dumps({"model": "m", "version": 1, "vector": [1, n / 10]}) for n in range(3)]
    with_own = frame(Personas, [persona(n, embedding=own[n]) for n in range(3)])
    found = similarity(with_own, texts)
    assert set(found["basis"]) == {"own_vector"}
    assert set(found["model"]) == {"m 1"}
    assert pairs_of(found)["p-0000", "p-0001"] == pytest.approx(1 / np.hypot(1, 0.1), abs=1e-6)

    one_lacks_it = frame(Personas, [persona(n, embedding=own[n] if n else None) for n in range(3)])
    same = similarity(one_lacks_it, embedded(texts_of(personas=[changed(f"p-{n:04}") for n in range(3)]), model))
    assert set(same["basis"]) == {"text_vector"}
    assert set(same["model"]) == {"counting 1"}
    assert len(same) == 3
    assert same["similarity"].to_list() == pytest.approx([1, 1, 1], abs=1e-3)

    assert set(similarity(one_lacks_it, texts.filter(pl.col("persona_id") != "p-0002"))["basis"]) == {"traits"}


@pytest.mark.parametrize(
    "told",
    ["{", "[]", "null", '{"vector": []}', '{"vector": ["x"]}', '{"vector": [NaN]}', '{"vector": [0, 0]}',
     '{"vector": [1e999]}', '{"vector": ' + "[" * 50_000 + "}", '{"vector": 7}', '{"vector": [1, 2, 3]}'],
)  # fmt: skip
def test_a_vector_that_is_none_leaves_traits(told: str) -> None:
    good = json.dumps({"model": "m", "vector": [1, 2]})
    rows = frame(Personas, [persona(1, embedding=good), persona(2, embedding=told)])
    assert set(similarity(rows)["basis"]) == {"traits"}


@pytest.mark.parametrize(
    "told",
    [None, "", "{", "[1]", '"x"', '{"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}', '{"age": 1e400, "n": NaN}',
     '{"a": [[1], {"b": 2}, null, "x"]}', json.dumps({"x": "‮\x00" * 30}), '{"n": 1' + "0" * 400 + "}",
     '{"a": ' * 20_000 + "1" + "}" * 20_000, json.dumps({"story": "y" * 10_000_000})],
)  # fmt: skip
def test_odd_traits_are_no_trouble(told: str | None) -> None:
    rows = frame(Personas, [persona(n, demographics=told, personal_values=told) for n in range(3)])
    found = similarity(rows)
    assert len(found) == 3
    assert set(found["similarity"]) == {1.0}


def test_nobody_is_compared_across_tenants_or_after_a_deletion() -> None:
    rows = [persona(1), persona(2), persona(1, tenant_id="t-2"), persona(3, is_current=False)]
    found = similarity(frame(Personas, rows))
    assert found.select("tenant_id", "persona_id", "other_persona_id").rows() == [("t-1", "p-0001", "p-0002")]
    nodes = persona_communities(frame(Personas, rows).lazy(), found.lazy())
    assert nodes.select("tenant_id", "persona_id", "community_size").rows() == [
        ("t-1", "p-0001", 2), ("t-1", "p-0002", 2), ("t-2", "p-0001", 1)
    ]  # fmt: skip


def test_the_same_graph_has_the_same_communities_in_any_order_of_rows() -> None:
    personas = people(150)
    first = similarity(personas)
    expected = persona_communities(personas.lazy(), first.lazy())
    assert expected["community"].n_unique() > 2
    for seed in range(20):
        shuffled = personas.sample(fraction=1, shuffle=True, seed=seed)
        edges = similarity(shuffled)
        assert edges.equals(first)
        mixed = edges.sample(fraction=1, shuffle=True, seed=seed)
        assert persona_communities(shuffled.lazy(), mixed.lazy()).equals(expected)


def test_a_plain_installation_has_all_but_what_the_extra_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    personas = people(20)
    edges = similarity(personas)
    whole = persona_communities(personas.lazy(), edges.lazy())
    monkeypatch.setattr("data_platform.domains.research.transforms.persona_communities.is_installed", lambda: False)
    found = persona_communities(personas.lazy(), edges.lazy())
    measured = ["community", "community_size", "betweenness"]
    assert found.drop(measured).equals(whole.drop(measured))
    assert found.select(measured).null_count().row(0) == (20, 20, 20)


def test_tables_hold_what_they_promise(tmp_path: Path) -> None:
    lake, personas = Lake(str(tmp_path / "lake")), people(60)
    edges = similarity(personas)
    nodes = persona_communities(personas.lazy(), edges.lazy())
    for table, rows in ((PersonaSimilarity, edges), (PersonaCommunities, nodes)):
        publication = Publication(table)
        publication.publish(lake, [rows], [], "test", [])
        assert not publication.verdicts.blocked()
    degree = pl.concat([edges["persona_id"], edges["other_persona_id"]]).value_counts()
    assert edges.group_by("persona_id").len()["len"].max() >= NEAREST / 2
    assert nodes["neighbours"].sum() == degree["count"].sum()
    assert nodes["pagerank"].sum() == pytest.approx(1)


# ---------------------------------------------------------------------------------------------------- related


def naive(edges: pl.DataFrame, start: str, hops: int) -> dict[str, tuple[int, float]]:
    """Persona → hops, and the greatest product of similarities over ways of so many hops."""
    near: dict[str, dict[str, float]] = defaultdict(dict)
    for (one, other), cosine in pairs_of(edges).items():
        near[one][other] = near[other][one] = cosine
    found, last = {start: (0, 1.0)}, {start: 1.0}
    for hop in range(1, hops + 1):
        reached: dict[str, float] = {}
        for one, strength in last.items():
            for other, cosine in near[one].items():
                if other not in found:
                    reached[other] = max(reached.get(other, 0), strength * cosine)
        found |= {name: (hop, strength) for name, strength in reached.items()}
        last = reached
    return {name: facts for name, facts in found.items() if name != start}


@pytest.mark.parametrize("hops", [1, 2, 3, 10])
def test_related_personas_are_those_of_a_naive_walk(hops: int) -> None:
    personas = people(200, seed=5)
    edges = similarity(personas).filter(pl.col("similarity") > 0.9)
    graph = PersonaGraph(personas, edges.sample(fraction=1, shuffle=True, seed=1))
    for start in personas["persona_id"][::20]:
        found = graph.related(start, hops)
        expected = naive(edges, start, hops)
        assert {one.persona_id: (one.hops, pytest.approx(one.strength)) for one in found} == expected
        order = [(one.hops, -one.strength, one.persona_id) for one in found]
        assert order == sorted(order)
        assert all(one.via == start or one.via in expected for one in found)


def publish(lake: Lake, personas: pl.DataFrame) -> pl.DataFrame:
    edges = similarity(personas)
    Publication(Personas).publish(lake, [personas], [], "test", [])
    Publication(PersonaSimilarity).publish(lake, [edges], [], "test", [])
    return edges


def test_a_project_sees_its_own_and_those_of_none(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    rows = [persona(n, project_id=[None, "a", "b"][n % 3]) for n in range(9)]
    publish(lake, frame(Personas, [*rows, persona(1, tenant_id="t-2")]))
    found = related_personas(lake, "p-0001", tenant="t-1", project="a")
    assert {one.project_id for one in found} == {None, "a"}
    assert len(found) == 5
    with pytest.raises(PlatformError, match="no persona 'p-0002' here"):
        related_personas(lake, "p-0002", tenant="t-1", project="a")
    with pytest.raises(PlatformError, match=r"2 tenants have a persona p-0001\. Pass --tenant: t-1, t-2"):
        related_personas(lake, "p-0001")
    assert related_personas(lake, "p-0001", tenant="t-2") == []
    with pytest.raises(PlatformError, match="11 hops cannot be walked"):
        related_personas(lake, "p-0002", hops=11)


def test_before_the_first_build_it_says_what_to_build(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="data-platform build research/persona_similarity"):
        related_personas(Lake(str(tmp_path / "lake")), "p-1", tenant="t-1")
