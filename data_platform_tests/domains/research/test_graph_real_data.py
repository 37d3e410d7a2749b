"""Real profiles and meetings as graphs: 1,753 of the General Social Survey, personas of TinyTroupe, meetings of QMSum.
Skipped where the data is absent. Not here: that every row of them arrives (test_research_real_data)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.domains.research.contracts.discussions import RawDiscussionEvents
from data_platform.domains.research.contracts.graph import LEAST_SIMILARITY, NEAREST
from data_platform.domains.research.contracts.registry import PersonaChanges, Personas
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.sources import DISCUSSION_EVENTS, PERSONAS
from data_platform.domains.research.transforms.concepts import concepts, mentions
from data_platform.domains.research.transforms.discussion_events import clean_discussion_events
from data_platform.domains.research.transforms.persona_communities import persona_communities
from data_platform.domains.research.transforms.persona_similarity import persona_similarity
from data_platform.domains.research.transforms.persona_traits import trait_vectors
from data_platform.sources.files.foreign_files import FileFormat
from data_platform.sources.files.mapping import map_file
from data_platform_tests.support.homes import Home
from data_platform_tests.support.research_rows import NOON, frame
from data_platform_tests.support.running import ROOT
from data_platform_tests.support.shared_data import SHARED_DATA

DATA = SHARED_DATA
pytestmark = pytest.mark.skipif(not (DATA / "gss_agents").is_dir(), reason="the real data is not here")


def personas(home: Home, mapping: str, *files: Path) -> pl.DataFrame:
    for file in files:
        map_file(file, ROOT / "examples" / mapping, PERSONAS, home.landing, FileFormat())
    home.ingest()
    return history(clean_changes(home.rows(PERSONAS.table).lazy(), PersonaChanges), Personas).collect()


def test_profiles_of_the_general_social_survey_are_alike_by_what_they_have_in_common(home: Home) -> None:
    people = personas(home, "gss_agents.sql", DATA / "gss_agents/agents.jsonl")
    edges = persona_similarity(people.lazy(), Embeddings.empty().lazy())
    assert set(edges["basis"]) == {"traits"}
    ends = pl.concat([edges["persona_id"], edges["other_persona_id"]])
    assert ends.n_unique() == len(people) == 1753, "among so many, everybody has somebody alike"
    assert edges["similarity"].is_between(LEAST_SIMILARITY["traits"], 1).all()
    assert len(edges) <= NEAREST * len(people)
    vectors = trait_vectors(people.sort("persona_id").to_dicts())
    at = dict(zip(people["persona_id"].sort(), vectors, strict=True))
    for one, other, cosine in edges.sample(50, seed=1).select(
        "persona_id", "other_persona_id", "similarity"
    ).iter_rows():  # fmt: skip
        assert cosine == pytest.approx(float(np.dot(at[one], at[other])), abs=1e-5)

    told = {row["persona_id"]: json.loads(row["demographics"]) for row in people.iter_rows(named=True)}
    assert shared(told, edges) > 1.5 * shared(told, shuffled(edges)), "alike means: with more answers in common"

    nodes = persona_communities(people.lazy(), edges.lazy())
    assert len(nodes) == 1753
    assert 3 < nodes["community"].n_unique() < 200
    assert nodes.equals(persona_communities(people.sample(fraction=1, shuffle=True, seed=1).lazy(), edges.lazy()))


def shared(told: dict[str, dict[str, Any]], edges: pl.DataFrame) -> float:
    """Mean number of texts that two ends have in common."""
    pairs = edges.select("persona_id", "other_persona_id").rows()
    common = [
        sum(told[other].get(name) == value for name, value in told[one].items() if isinstance(value, str))
        for one, other in pairs
    ]
    return sum(common) / len(common)


def shuffled(edges: pl.DataFrame) -> pl.DataFrame:
    return edges.with_columns(pl.col("other_persona_id").shuffle(seed=1))


def test_who_went_where_groups_the_southern_women_as_they_are_known_to_be() -> None:
    """18 women and the 14 occasions that each came to (Davis, Gardner and Gardner 1941), as vectors that came with
    personas. Two groups are known; of 21 published analyses most part on Pearl, Ruth and Dorothy, who lie between them,
    and Olivia and Flora came to two occasions only (Freeman 2003)."""
    came = [line.split("\t")[:2] for line in (DATA / "graphs/southern_women/edges.tsv").read_text().splitlines()]
    occasions = sorted({occasion for _, occasion in came})
    women = sorted({woman for woman, _ in came})
    people = frame(
        Personas,
        [
            {"tenant_id": "t-1", "persona_id": woman, "is_current": True, "valid_from": NOON, "embedding": json.dumps(
                {"model": "occasions", "vector": [int([woman, one] in came) for one in occasions]})}
            for woman in women
        ],
    )  # fmt: skip
    edges = persona_similarity(people.lazy(), Embeddings.empty().lazy())
    assert set(edges["basis"]) == {"own_vector"}
    nodes = persona_communities(people.lazy(), edges.lazy())
    groups = nodes.group_by("community").agg(pl.col("persona_id").str.split(" ").list.first().sort())
    assert dict(groups.iter_rows()) == {
        1: ["Brenda", "Charlotte", "Eleanor", "Evelyn", "Frances", "Laura", "Theresa"],
        2: ["Helen", "Katherina", "Myra", "Nora", "Sylvia", "Verne"],
        3: ["Dorothy", "Flora", "Olivia", "Pearl", "Ruth"],
    }


def test_personas_of_tinytroupe_with_nested_traits_are_compared(home: Home) -> None:
    files = sorted((DATA / "tinytroupe/agents").glob("*.agent.json"))
    people = personas(home, "tinytroupe_personas.sql", *files)
    vectors = trait_vectors(people.to_dicts())
    assert len(vectors) == 6
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths == pytest.approx(np.ones(6), abs=1e-5), "nothing of six personas is beyond 512 directions"
    assert (
        len(persona_communities(people.lazy(), persona_similarity(people.lazy(), Embeddings.empty().lazy()).lazy()))
        == 6
    )


def test_what_a_real_meeting_speaks_of(home: Home) -> None:
    """The designers of a remote control speak of buttons, batteries and a remote control."""
    (file, *_) = sorted((DATA / "qmsum").rglob("*.json*"))
    map_file(file, ROOT / "examples/qmsum.sql", DISCUSSION_EVENTS, home.landing, FileFormat())
    home.ingest()
    raw = home.rows(DISCUSSION_EVENTS.table)
    days = sorted(raw[str(RawDiscussionEvents.partition)].unique())
    events = clean_discussion_events(raw.lazy(), days).clean
    found = concepts(mentions(events.lazy()).lazy()).collect().sort("texts", descending=True)
    assert {"remote", "remote control", "button"} & set(found.head(25)["concept"])
    assert found["words"].is_between(1, 3).all()
