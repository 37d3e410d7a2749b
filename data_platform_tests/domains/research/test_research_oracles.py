"""Cohorts and diversity against naive Python that shares no code with the SQL, over random people and personas.
Not here: what crafted rows come to (test_research_star)."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter, defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.domains.research.contracts.metrics import (
    COHORT_WEEKS,
    PersonaDiversity,
    ProjectDiversity,
    WeeklyRetentionCohorts,
)
from data_platform.domains.research.contracts.registry import (
    PersonaChanges,
    ResearchProjectChanges,
    ResearchUserChanges,
)
from data_platform.domains.research.contracts.star import UserActivityDays
from data_platform_tests.support.research_rows import frame
from data_platform_tests.support.research_sql import computed

FIRST = dt.date(2024, 1, 3)
"""A Wednesday."""
DAYS = [FIRST + dt.timedelta(n) for n in range(60)]
Row = dict[str, Any]


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


# ------------------------------------------------------------------------------------------------------- cohorts
@st.composite
def people(draw: st.DrawFn) -> tuple[list[Row], list[Row], dt.date]:
    """Changes to users, their active days, and today."""
    changes, activity = [], []
    for number in range(draw(st.integers(1, 12))):
        heard = draw(st.integers(0, 30))
        signed_up = draw(st.sampled_from([None, 0, 0, 0, 1, 5, 9]))
        user = {"tenant_id": draw(st.sampled_from(["t-1", "t-2"])), "user_id": f"u-{draw(st.integers(0, 9))}-{number}"}
        at = midnight(DAYS[heard]) + dt.timedelta(hours=draw(st.integers(0, 23)))
        told = None if signed_up is None else at - dt.timedelta(days=signed_up)
        changes.append(user | {"change_date": at.date(), "changed_at": at, "operation": "insert", "signed_up_at": told})
        if draw(st.booleans()):
            later = at + dt.timedelta(days=draw(st.integers(0, 20)), seconds=1)
            gone = draw(st.sampled_from(["update", "delete"]))
            told_late = draw(st.sampled_from([None, at, at - dt.timedelta(days=9)]))
            changes.append(
                user | {"change_date": later.date(), "changed_at": later, "operation": gone, "signed_up_at": told_late}
            )
        for day in draw(st.sets(st.integers(0, 59), max_size=8)):
            activity.append(user | {"activity_date": DAYS[day]})
    return changes, activity, DAYS[-1] + dt.timedelta(draw(st.integers(-40, 60)))


def naive_cohorts(changes: list[Row], activity: list[Row], today: dt.date) -> dict[tuple[dt.date, str], list[Any]]:
    """(Monday of the cohort, tenant) → users, then the share of each week, None where it is not over."""
    heard: dict[tuple[str, str], dt.datetime] = {}
    signed_up: dict[tuple[str, str], dt.datetime] = {}
    for row in sorted(changes, key=lambda row: row["changed_at"]):
        who = (row["tenant_id"], row["user_id"])
        heard.setdefault(who, row["changed_at"])
        if row["signed_up_at"] is not None and row["changed_at"].isocalendar()[:2] == heard[who].isocalendar()[:2]:
            signed_up.setdefault(who, row["signed_up_at"])
    cohorts: dict[tuple[dt.date, str], set[tuple[str, str]]] = defaultdict(set)
    for who, at in heard.items():
        if signed_up.get(who, at).isocalendar()[:2] == at.isocalendar()[:2]:
            cohorts[dt.date.fromisocalendar(*at.isocalendar()[:2], 1), who[0]].add(who)
    seen = {(row["tenant_id"], row["user_id"], row["activity_date"].isocalendar()[:2]) for row in activity}
    found: dict[tuple[dt.date, str], list[Any]] = {}
    for (monday, tenant), users in cohorts.items():
        if monday + dt.timedelta(6) > DAYS[-1]:
            continue
        shares: list[float | None] = []
        for week in range(COHORT_WEEKS + 1):
            start = monday + dt.timedelta(7 * week)
            came = sum((*who, start.isocalendar()[:2]) in seen for who in users)
            shares.append(came / len(users) if start + dt.timedelta(6) < today else None)
        found[monday, tenant] = [len(users), *shares]
    return found


@settings(max_examples=25)
@given(people())
def test_cohorts_are_those_of_a_naive_count(told: tuple[list[Row], list[Row], dt.date]) -> None:
    changes, activity, today = told
    given = {
        ResearchUserChanges: frame(ResearchUserChanges, changes),
        UserActivityDays: frame(UserActivityDays, activity),
    }
    found = computed(WeeklyRetentionCohorts, given, DAYS, today)
    weeks = [f"week_{week}" for week in range(COHORT_WEEKS + 1)]
    rows = found.select("cohort_week", "tenant_id", "cohort_users", *weeks).rows()
    assert {row[:2]: list(row[2:]) for row in rows} == naive_cohorts(changes, activity, today)
    assert (found["week_end"] - found["cohort_week"]).dt.total_days().to_list() == [6] * len(found)
    sundays = [day for day in DAYS if day.isoweekday() == 7]
    week_by_week = [computed(WeeklyRetentionCohorts, given, [sunday], today) for sunday in sundays[:5]]
    assert found.filter(pl.col("week_end") <= sundays[4]).equals(pl.concat(week_by_week)), "what is told later is late"


# ----------------------------------------------------------------------------------------------------- diversity
VALUES = st.sampled_from(["a", "b", "c", "ż", "", 34, 35, 3.9, 40, -3, True, None, ["x"], {"y": 1}])
DEMOGRAPHICS = st.none() | st.dictionaries(st.sampled_from(["gender", "age", 'o"dd']), VALUES)
SHARES = st.dictionaries(st.sampled_from(["a", "b", "ż", "30-39"]), st.sampled_from([0, 0.25, 0.5, 1, -1, "x", None]))
TARGETS = st.none() | st.dictionaries(st.sampled_from(["gender", "age"]), SHARES | st.just(3))


@st.composite
def cast(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Changes to personas and to the two tenants' projects, all over a few days."""
    personas = []
    for number in range(draw(st.integers(1, 10))):
        persona = {"tenant_id": draw(st.sampled_from(["t-1", "t-2"])), "persona_id": f"p-{number}"}
        for day in sorted(draw(st.sets(st.integers(0, 4), min_size=1, max_size=3))):
            given = draw(DEMOGRAPHICS)
            personas.append(
                persona
                | {
                    "change_date": DAYS[day],
                    "changed_at": midnight(DAYS[day]) + dt.timedelta(hours=draw(st.sampled_from([0, 12]))),
                    "operation": draw(st.sampled_from(["insert", "update", "update", "delete"])),
                    "project_id": draw(st.sampled_from(["r-1", "r-1", None])),
                    "segment": draw(st.sampled_from(["s", "t", None])),
                    "demographics": None if given is None else json.dumps(given),
                }
            )
    projects = []
    for tenant in ("t-1", "t-2"):
        target = draw(TARGETS)
        projects.append(
            {
                "tenant_id": tenant, "project_id": "r-1", "change_date": DAYS[0], "changed_at": midnight(DAYS[0]),
                "operation": "insert", "target_demographics": None if target is None else json.dumps(target),
            }
        )  # fmt: skip
    return personas, projects


def attributes(row: Row) -> dict[str, str]:
    """Attribute → value of a persona, as the contract says it."""
    found = {}
    for name, value in json.loads(row["demographics"] or "{}").items():
        if isinstance(value, bool):
            found[name] = str(value).lower()
        elif isinstance(value, int | float):
            ten = math.floor(value / 10) * 10
            found[name] = f"{ten}-{ten + 9}"
        elif isinstance(value, str):
            found[name] = value
    return found | ({"segment": row["segment"]} if row["segment"] is not None else {})


Measures = list[float | None]


def naive_diversity(personas: list[Row], projects: list[Row], day: dt.date) -> dict[tuple[str, str], Measures]:
    """(tenant, attribute) → n, S, H, H / ln S, D, D / (1 − 1/S), distance: of project r-1 at the end of the day."""
    newest: dict[tuple[str, str], Row] = {}
    for row in sorted(personas, key=lambda row: row["changed_at"]):
        if row["change_date"] <= day:
            newest[row["tenant_id"], row["persona_id"]] = row
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (tenant, _), row in newest.items():
        if row["operation"] != "delete" and row["project_id"] == "r-1":
            for name, value in attributes(row).items():
                counts[tenant, name][value] += 1
    targets = {row["tenant_id"]: json.loads(row["target_demographics"] or "{}") for row in projects}
    found: dict[tuple[str, str], Measures] = {}
    for (tenant, name), counted in counts.items():
        n, kinds = counted.total(), len(counted)
        shares = {value: count / n for value, count in counted.items()}
        shannon = -sum(share * math.log(share) for share in shares.values())
        simpson = 1 - sum(share**2 for share in shares.values())
        even = [shannon / math.log(kinds), simpson / (1 - 1 / kinds)] if kinds > 1 else [0, 0]
        wanted = targets[tenant].get(name)
        wanted = wanted if isinstance(wanted, dict) else {}
        wanted = {key: share for key, share in wanted.items() if isinstance(share, int | float) and share >= 0}
        total = sum(wanted.values())
        distance = None
        if total > 0:
            both = shares.keys() | wanted.keys()
            distance = sum(abs(shares.get(key, 0) - wanted.get(key, 0) / total) for key in both) / 2
        found[tenant, name] = [n, kinds, shannon, even[0], simpson, even[1], distance]
    return found


@settings(max_examples=15)
@given(cast())
def test_diversity_is_that_of_the_formulas(told: tuple[list[Row], list[Row]]) -> None:
    personas, projects = told
    personas = list({(row["tenant_id"], row["persona_id"], row["changed_at"]): row for row in personas}.values())
    given = {
        PersonaChanges: frame(PersonaChanges, personas),
        ResearchProjectChanges: frame(ResearchProjectChanges, projects),
    }
    found = computed(PersonaDiversity, given, DAYS[:6])
    measures = ("personas", "distinct_values", "shannon", "shannon_evenness", "simpson", "simpson_evenness",
                "target_distance")  # fmt: skip
    for day in DAYS[:6]:
        rows = found.filter(pl.col("snapshot_date") == day).select("tenant_id", "attribute", *measures).rows()
        expected = naive_diversity(personas, projects, day)
        assert {row[:2]: list(row[2:]) for row in rows} == {
            key: [pytest.approx(one, abs=1e-12) if one is not None else None for one in values]
            for key, values in expected.items()
        }
    for name in ("shannon_evenness", "simpson_evenness", "target_distance"):
        assert found[name].max() is None or found[name].max() <= 1 + 1e-9  # type: ignore[operator]
    backwards = {table: rows.reverse() for table, rows in given.items()}
    assert computed(PersonaDiversity, backwards, DAYS[:6]).equals(found), "to the last bit, whatever the order"
    alone = computed(PersonaDiversity, given, DAYS[2:3])
    assert alone.equals(found.filter(pl.col("snapshot_date") == DAYS[2])), "a day alone is as in a longer run"
    means = computed(ProjectDiversity, {PersonaDiversity: found}, DAYS[:6])
    expected_means = found.group_by("snapshot_date", "tenant_id").agg(pl.col("shannon_evenness").mean())
    together = means.join(expected_means, on=["snapshot_date", "tenant_id"])
    assert len(together) == len(means) == len(expected_means)
    for ours, mean in together.select("shannon_evenness", "shannon_evenness_right").rows():
        assert ours == pytest.approx(mean, abs=1e-12)
