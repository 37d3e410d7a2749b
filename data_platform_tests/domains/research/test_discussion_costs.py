"""What a focus group cost: by hand, against naive Python over random calls, and of a simulated studio, exactly.
Not here: what a call costs (domains/metering)."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.domains.metering.contracts.costs import TenantDailyCosts, UsageCosts
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.metering.transforms.rollups import daily_costs
from data_platform.domains.research.contracts.discussions import DiscussionEvents, Discussions
from data_platform.domains.research.contracts.findings import DiscussionLlmCosts, FocusGroupEffectiveness
from data_platform.domains.research.contracts.metrics import ProjectLlmCosts
from data_platform.domains.research.contracts.registry import ResearchProjectChanges
from data_platform.domains.research.simulation.studio import Studio
from data_platform.domains.research.transforms.discussions import discussion_states
from data_platform.simulation import simulate
from data_platform_tests.support.homes import FIRST_DAY, Home
from data_platform_tests.support.research_rows import NOON, frame
from data_platform_tests.support.research_sql import computed

Row = dict[str, Any]
TODAY = NOON.date()
DAYS = [TODAY + dt.timedelta(days=n) for n in range(-2, 3)]
EXACT = "0.000000000000000001"


def project(name: str = "r-1", tenant: str = "t-1", on: dt.date = DAYS[0], **fields: Any) -> Row:
    at = dt.datetime.combine(on, dt.time(8), dt.UTC)
    made = {"change_date": on, "changed_at": at, "tenant_id": tenant, "project_id": name, "operation": "insert"}
    return made | fields


def turn(discussion: str = "d-1", sequence: int = 1, on: dt.date = TODAY, **fields: Any) -> Row:
    made = {"event_date": on, "tenant_id": "t-1", "discussion_id": discussion, "sequence": sequence,
            "event_id": f"e-{sequence}", "event_type": "response", "event_version": 1, "event_data": "{}",
            "occurred_at": dt.datetime.combine(on, dt.time(12), dt.UTC), "project_id": "r-1", "persona_id": "p-1",
            "correlation_id": f"trace of {discussion}"}  # fmt: skip
    return made | fields


def call(number: int, cost: str | None = "1", on: dt.date = TODAY, **fields: Any) -> Row:
    """What both tables of a call say of it."""
    made = {"usage_date": on, "usage_id": f"c-{number}", "tenant_id": "t-1", "project_id": "r-1", "feature": "talk",
            "started_at": dt.datetime.combine(on, dt.time(12), dt.UTC), "total_tokens": 3, "failed": False,
            "currency": "USD", "cost": None if cost is None else Decimal(cost), "provider": "p", "model": "m",
            "input_tokens": 1, "cache_read_tokens": 0, "output_tokens": 2}  # fmt: skip
    return made | fields


def of(discussion: Any) -> str:
    return json.dumps({"discussion_id": discussion})


def given_tables(calls: list[Row], events: list[Row], projects: list[Row]) -> dict[Any, pl.DataFrame]:
    return {
        UsageCosts: frame(UsageCosts, calls),
        LlmUsage: frame(LlmUsage, calls),
        DiscussionEvents: frame(DiscussionEvents, events),
        ResearchProjectChanges: frame(ResearchProjectChanges, projects),
    }


def costs_of(calls: list[Row], events: list[Row], projects: list[Row], days: list[dt.date] = DAYS) -> pl.DataFrame:
    return computed(DiscussionLlmCosts, given_tables(calls, events, projects), days)


def test_a_call_is_the_discussion_s_that_it_names_or_whose_trace_it_is() -> None:
    day = dt.timedelta(days=1)
    calls = [
        call(1, EXACT, tags=of("d-1")),
        call(2, "2", tags=of("d-2"), trace_id="trace of d-1"),  # its tags count
        call(3, "4", trace_id="trace of d-1"),
        call(4, "8", trace_id="trace of d-1", on=TODAY - day),  # made before midnight
        call(5, "16", trace_id="trace of d-1", on=TODAY + 2 * day),  # too late for a trace …
        call(6, "32", tags=of("d-1"), on=TODAY + 2 * day),  # … and not for a name
        call(7, "64", trace_id="shared"),
        call(8, "128", tags=of("d-1"), project_id="r-2"),  # a project of another domain
        call(9, "256", tags=of("d-1"), project_id=None),
        call(10, "512", tags=of("d-1"), tenant_id="t-2"),
        call(11, "1024", trace_id="trace of d-1", tenant_id="t-2"),
        *(call(20 + n, "2048", tags=tags) for n, tags in enumerate([of(""), of(7), of(["d-1"]), of(None), "[]", None])),
        call(30, None, tags=of("d-1"), currency="USD"),
        call(31, "1", tags=of("d-1"), feature=None),
    ]
    events = [
        turn(), turn(sequence=2, on=TODAY - day), turn("d-2"), turn("d-3", correlation_id="shared"),
        turn("d-4", correlation_id="shared"), turn("d-5", correlation_id=None),
    ]  # fmt: skip
    found = costs_of(calls, events, [project(), project(tenant="t-2")])
    columns = ("usage_date", "tenant_id", "discussion_id", "feature", "currency", "calls", "unpriced_calls", "cost")
    assert found.select(columns).rows() == [
        (TODAY - day, "t-1", "d-1", "talk", "USD", 1, 0, Decimal(8)),
        (TODAY, "t-1", "d-1", "", "USD", 1, 0, Decimal(1)),
        (TODAY, "t-1", "d-1", "talk", "", 1, 1, None),
        (TODAY, "t-1", "d-1", "talk", "USD", 2, 0, Decimal(4) + Decimal(EXACT)),
        (TODAY, "t-1", "d-2", "talk", "USD", 1, 0, Decimal(2)),
        (TODAY, "t-2", "d-1", "talk", "USD", 1, 0, Decimal(512)),
        (TODAY + 2 * day, "t-1", "d-1", "talk", "USD", 1, 0, Decimal(32)),
    ]


def cost_of(*calls: Row, **fields: Any) -> tuple[Any, ...]:
    events = frame(DiscussionEvents, [turn(**fields)])
    states = discussion_states(events.lazy()).collect()
    tables = given_tables([*calls], events.to_dicts(), [project(), project("r-2")]) | {Discussions: states}
    columns = ("llm_calls", "unpriced_llm_calls", "llm_cost", "llm_currency")
    (found,) = computed(FocusGroupEffectiveness, tables).select(columns).rows()
    return found


def test_a_cost_is_exact_or_null_and_never_zero_for_want_of_a_price() -> None:
    mine = {"tags": of("d-1")}
    assert cost_of(call(1, EXACT, **mine), call(2, "1", feature="more", **mine)) == (
        2,
        0,
        Decimal("1") + Decimal(EXACT),
        "USD",
    )
    assert cost_of() == (0, 0, None, None)
    assert cost_of(call(1, "0", **mine)) == (1, 0, Decimal(0), "USD"), "a price of nothing is a price"
    assert cost_of(call(1, "1", **mine), call(2, None, **mine)) == (2, 1, None, None)
    assert cost_of(call(1, None, currency=None, **mine)) == (1, 1, None, None)
    assert cost_of(call(1, "1", **mine), call(2, "1", currency="EUR", **mine)) == (2, 0, None, None)
    assert cost_of(call(1, "1", project_id="r-2", **mine)) == (0, 0, None, None), "another project's calls"
    assert cost_of(call(1, "1", **mine), discussion="d-2") == (0, 0, None, None)


def test_a_project_costs_nothing_before_it_was_known_whatever_days_are_computed_with_it() -> None:
    later = TODAY + dt.timedelta(days=1)
    calls = [call(1, tags=of("d-1")), call(2, "2", tags=of("d-1"), on=later)]
    projects = [project(on=later)]
    assert costs_of(calls, [turn()], projects).select("usage_date", "cost").rows() == [(later, Decimal(2))]
    costs = {TenantDailyCosts: daily_costs(frame(UsageCosts, calls).lazy()).collect()}
    found = computed(ProjectLlmCosts, given_tables(calls, [turn()], projects) | costs, DAYS)
    assert found.select("usage_date", "cost").rows() == [(later, Decimal(2))]


CALLS = st.builds(
    call,
    st.integers(0, 10**6),
    st.sampled_from([None, "1", "0.5", EXACT]),
    st.sampled_from(DAYS),
    project_id=st.sampled_from(["r-1", "r-2", None]),
    tenant_id=st.sampled_from(["t-1", "t-2"]),
    feature=st.sampled_from([None, "talk"]),
    trace_id=st.sampled_from([None, "trace of d-1", "trace of d-2", "shared"]),
    tags=st.sampled_from([None, None, of("d-1"), of("d-9"), of(""), of(1)]),
)
EVENTS = st.builds(
    turn,
    st.sampled_from(["d-1", "d-2"]),
    st.integers(1, 9),
    st.sampled_from(DAYS),
    project_id=st.sampled_from(["r-1", "r-2"]),
    tenant_id=st.sampled_from(["t-1", "t-2"]),
    correlation_id=st.sampled_from([None, "trace of d-1", "trace of d-2", "shared"]),
)
PROJECTS = st.builds(project, st.sampled_from(["r-1", "r-2"]), st.sampled_from(["t-1", "t-2"]), st.sampled_from(DAYS))


def naive(calls: list[Row], events: list[Row], projects: list[Row]) -> dict[tuple[Any, ...], list[Any]]:
    known = {(one["tenant_id"], one["project_id"]): one["change_date"] for one in projects}
    sums: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [0, None])
    for one in calls:
        where, on = (one["tenant_id"], one["project_id"]), one["usage_date"]
        if where not in known or known[where] > on:
            continue
        tag = json.loads(one["tags"])["discussion_id"] if one["tags"] else None
        named = {tag} if isinstance(tag, str) and tag else {
            event["discussion_id"]
            for event in events
            if (event["tenant_id"], event["project_id"]) == where
            and one["trace_id"] is not None
            and event["correlation_id"] == one["trace_id"]
            and abs((event["event_date"] - on).days) <= 1
        }  # fmt: skip
        if len(named) != 1:
            continue
        priced = one["cost"] is not None
        total = sums[on, *where, *named, one["feature"] or "", "USD" if priced else ""]
        total[0] += 1
        total[1] = (total[1] or 0) + one["cost"] if priced else None
    return sums


@settings(max_examples=12, deadline=None)
@given(
    st.lists(CALLS, max_size=25, unique_by=lambda one: one["usage_id"]),
    st.lists(EVENTS, max_size=12, unique_by=lambda one: (one["tenant_id"], one["discussion_id"], one["sequence"])),
    st.lists(PROJECTS, max_size=4, unique_by=lambda one: (one["tenant_id"], one["project_id"])),
)
def test_random_calls_cost_what_naive_python_says_day_by_day_or_at_once(
    calls: list[Row], events: list[Row], projects: list[Row]
) -> None:
    found = costs_of(calls, events, projects)
    assert {row[:6]: [*row[6:]] for row in found.select(*found.columns[:1], "tenant_id", "project_id", "discussion_id",
            "feature", "currency", "calls", "cost").rows()} == naive(calls, events, projects)  # fmt: skip
    by_day = pl.concat([costs_of(calls, events, projects, [day]) for day in DAYS])
    assert found.equals(by_day), "a day hangs on the days it declares and on no others of its slice"
    # What discussions cost is part of what their projects cost; and that, too, is the same day by day.
    costs = {TenantDailyCosts: daily_costs(frame(UsageCosts, calls).lazy()).collect()}
    tables = given_tables(calls, events, projects) | costs
    whole = computed(ProjectLlmCosts, tables, DAYS)
    assert whole.equals(pl.concat([computed(ProjectLlmCosts, tables, [day]) for day in DAYS]))
    keys = ["usage_date", "tenant_id", "project_id", "feature", "currency"]
    parts = found.group_by(keys).agg(pl.col("calls").sum(), pl.col("cost").sum())
    assert parts.join(whole, on=keys, how="anti").is_empty()
    beside = parts.join(whole, on=keys, suffix="_of_project")
    assert (beside["calls"] <= beside["calls_of_project"]).all()
    assert (beside["cost"] <= beside["cost_of_project"]).all()


def test_a_simulated_studio_s_focus_groups_cost_what_was_simulated(tmp_path: Path) -> None:
    with Home(tmp_path / "home").used() as home:
        truth = json.loads(simulate(20, 6, 1, FIRST_DAY, home.landing, dirty=True).read_text())
        home.build(["research/focus_group_effectiveness"])
        groups = home.rows(FocusGroupEffectiveness)
        told = "\n".join(Studio.told(home.lake, truth))
    true = truth["research"]["discussion_costs"]
    found = dict(groups.select("discussion_id", "llm_cost").iter_rows())
    assert found == {name: None if cost is None else Decimal(cost) for name, cost in true.items()}
    assert None in found.values(), "one is held with a model that has no price"
    assert all(cost is None or cost > 0 for cost in found.values())
    assert groups["llm_calls"].to_list() == (groups["responses"] + groups["followups"]).to_list()
    assert f"{len(groups)} of {len(groups)} discussions cost what was simulated." in told
