"""Facts name the versions that held, whose they are, and what is odd about them; who is active, how projects do, what
they cost. Not here: cohorts and diversity, which are held against oracles."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import yaml

from data_platform.core.contract.change_logs import history
from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Severity, Table
from data_platform.core.quality.validation import judge
from data_platform.domains.commerce.contracts.sources import RawUserChanges
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.research.contracts import metrics
from data_platform.domains.research.contracts.activity import PersonaInteractions, RawPersonaInteractions
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.registry import (
    FocusGroupChanges,
    PersonaChanges,
    Personas,
    ResearchProjectChanges,
    ResearchUserChanges,
    SurveyChanges,
)
from data_platform.domains.research.contracts.star import DimPersonas, FactPersonaInteractions, UserActivityDays
from data_platform.domains.research.transforms.activity import clean_interactions
from data_platform.warehouse import manifest
from data_platform_tests.support.research_rows import frame
from data_platform_tests.support.research_sql import computed

DAYS = [dt.date(2024, 3, 1) + dt.timedelta(n) for n in range(40)]


def at(day: int, hour: float = 12) -> dt.datetime:
    return dt.datetime.combine(DAYS[day], dt.time(), dt.UTC) + dt.timedelta(hours=hour)


def change(day: int, hour: float = 0, operation: str = "insert", **fields: Any) -> dict[str, Any]:
    made = {"change_date": DAYS[day], "changed_at": at(day, hour), "operation": operation, "tenant_id": "t-1"}
    return made | fields


def interaction(number: int, day: int, hour: float = 12, **fields: Any) -> dict[str, Any]:
    begins = at(day, hour)
    made = {
        "interaction_date": begins.date(), "tenant_id": "t-1", "interaction_id": f"i-{number}",
        "interaction_type": "edited", "persona_id": "p-1", "user_id": "u-1", "project_id": "r-1",
        "started_at": begins, "ended_at": begins + dt.timedelta(minutes=5),
    }  # fmt: skip
    return made | fields


PERSONAS = frame(PersonaChanges, [
    change(0, 10, persona_id="p-1", project_id="r-1", segment="a"),
    change(2, 10, "update", persona_id="p-1", project_id="r-1", segment="b"),
    change(2, 11, "update", persona_id="p-1", project_id="r-1", segment="b"),
    change(4, 10, "delete", persona_id="p-1", project_id="r-1", segment="b"),
    change(1, 10, persona_id="p-1", project_id="r-1", segment="theirs", tenant_id="t-2"),
    change(0, 0, persona_id="p-2", project_id="r-1", segment="a"),
])  # fmt: skip
PROJECTS = frame(ResearchProjectChanges, [
    change(0, 0, project_id="r-1", name="ours"),
    change(0, 0, project_id="r-1", name="theirs", tenant_id="t-2"),
    change(0, 0, project_id="r-2", name="nothing happens"),
])  # fmt: skip


def facts(*interactions: dict[str, Any], users: pl.DataFrame | None = None) -> pl.DataFrame:
    given = {PersonaInteractions: frame(PersonaInteractions, interactions), PersonaChanges: PERSONAS,
             ResearchProjectChanges: PROJECTS}  # fmt: skip
    return computed(FactPersonaInteractions, given | ({RawUserChanges: users} if users is not None else {}), DAYS)


def segments_of(found: pl.DataFrame) -> list[str | None]:
    """What segment the persona had at each fact, in order of id."""
    versions = computed(DimPersonas, {PersonaChanges: PERSONAS}).select("persona_key", "segment")
    return found.join(versions, on="persona_key", how="left").sort("interaction_id")["segment"].to_list()


def test_a_fact_names_the_version_that_held_when_it_began() -> None:
    found = facts(
        interaction(1, 0, 9),  # it made the persona, whose row came an hour later
        interaction(2, 2, 9.99),
        interaction(3, 2, 10),
        interaction(4, 4, 11),  # after its deletion
        interaction(5, 1, 9, tenant_id="t-2"),
        interaction(6, 0, 9, tenant_id="t-2"),  # a day before there was such a persona
        interaction(7, 0, persona_id="p-9"),
    )
    assert segments_of(found) == ["a", "a", "b", None, "theirs", None, None]
    assert found["project_key"].null_count() == 0
    assert set(found["duration_seconds"]) == {300.0}


def test_versions_are_those_of_the_clean_history() -> None:
    dims = computed(DimPersonas, {PersonaChanges: PERSONAS})
    expected = history(PERSONAS.lazy(), Personas).collect()
    same = [name for name in Personas.columns if name in DimPersonas.columns]
    order = ["tenant_id", "persona_id", "valid_from"]
    assert dims.sort(order).select(same).equals(expected.sort(order).select(same))
    assert not dims["persona_key"].is_duplicated().any()


def test_a_day_alone_is_as_in_a_longer_run() -> None:
    rows = frame(PersonaInteractions, [interaction(n, n % 5, (7 * n) % 24) for n in range(40)])
    given = {PersonaInteractions: rows, PersonaChanges: PERSONAS, ResearchProjectChanges: PROJECTS}
    whole = computed(FactPersonaInteractions, given, DAYS)
    alone = pl.concat([computed(FactPersonaInteractions, given, [day]) for day in DAYS[:5]])
    assert len(whole) == 40
    assert alone.sort(FactPersonaInteractions.primary_key).equals(whole)


def test_a_user_of_the_shop_is_the_same_person() -> None:
    shop = frame(RawUserChanges, [
        {"change_date": DAYS[0], "user_id": "u-1", "plan": plan, "operation": "update", "changed_at": at(day),
         "source_file": "f", "source_line": day, "received_at": at(9)}
        for day, plan in ((0, "free"), (2, "gold"))
    ])  # fmt: skip
    keys = facts(*(interaction(day, day, 13, user_id=user) for day, user in enumerate(("u-1", "u-1", "u-1", "u-2"))),
                 users=shop)["user_key"].to_list()  # fmt: skip
    assert keys[0] == keys[1] != keys[2]
    assert None not in keys[:3]
    assert keys[3] is None, "no user of the shop"


def test_what_is_odd_about_a_fact_is_told_and_only_the_future_is_an_error() -> None:
    rows = facts(
        interaction(1, 0),
        interaction(2, 0, persona_id="p-9"),
        interaction(3, 0, project_id="r-9", ended_at=at(0, 13.5)),
        interaction(4, 0, ended_at=dt.datetime(2999, 1, 1, tzinfo=dt.UTC)),
        interaction(5, 0, user_id="u-1", tenant_id="t-2"),
    )
    judged = judge(FactPersonaInteractions, rows, [str(DAYS[0])]).failures
    assert {(one.rule, one.severity, one.failed_rows) for one in judged} == {
        ("persona_is_known", Severity.WARNING, 2),  # t-2 has no p-1 yet
        ("project_is_known", Severity.WARNING, 1),
        ("duration_seconds_at_most_3600.0", Severity.WARNING, 2),
    }
    users = frame(ResearchUserChanges, [change(0, user_id="u-1")]).lazy()
    rules = {rule.name: rule for rule in FactPersonaInteractions.table_rules}
    strangers = rules["user_is_known"].failing(rows.lazy(), known=users).collect()
    assert strangers.select("tenant_id", "user_id").rows() == [("t-2", "u-1")]
    future = rules["not_in_the_future"]
    assert future.failing(rows.lazy()).collect()["interaction_id"].to_list() == ["i-4"]
    assert future.severity == Severity.ERROR


def by_day(table: type[Table], rows: pl.DataFrame, day: dt.date) -> dict[str, Any]:
    found: dict[str, Any] = rows.filter(pl.col(str(table.partition)) == day, pl.col("project_id") == "r-1").row(
        0, named=True
    )
    return found


def test_what_ended_after_it_was_received_is_rejected() -> None:
    received = at(0, 13)
    lines = [
        interaction(number, 0, ended_at=received + dt.timedelta(minutes=late))
        | {"source_file": "f", "source_line": number, "received_at": received}
        for number, late in enumerate((-1, 9, 11, 10**6))
    ]
    found = clean_interactions(frame(RawPersonaInteractions, lines).lazy(), DAYS[:1])
    assert found.clean["interaction_id"].sort().to_list() == ["i-0", "i-1"], "clocks may differ by ten minutes"
    assert found.rejected["reason"].to_list() == ["ends_in_the_future"] * 2


def test_active_personas_of_a_day_a_week_and_a_month() -> None:
    rows = facts(
        interaction(1, 0, interaction_type="created"),
        interaction(2, 0, persona_id="p-2", interaction_type="created"),
        interaction(3, 0, persona_id="p-2"),
        interaction(4, 6, persona_id="p-3", interaction_type="surveyed"),
    )
    found = computed(metrics.DailyActivePersonas, {FactPersonaInteractions: rows}, DAYS)
    counts = ("active_personas", "weekly_active_personas", "monthly_active_personas", "interactions", "created")

    def on(day: int) -> list[int]:
        return [by_day(metrics.DailyActivePersonas, found, DAYS[day])[name] for name in counts]

    assert on(0) == [2, 2, 2, 3, 2]
    assert on(1) == [0, 2, 2, 0, 0]
    assert on(6) == [1, 3, 3, 1, 0]
    assert on(7) == [0, 1, 3, 0, 0]
    assert on(30) == [0, 0, 1, 0, 0]
    assert found["activity_date"].max() == DAYS[35], "thirty days after the last interaction there is nothing to tell"


def test_health_is_its_parts_by_their_weights() -> None:
    rows = facts(interaction(1, 3), interaction(2, 3, persona_id="p-8"))
    studies = frame(FocusGroupChanges, [
        change(0, focus_group_id="g-1", project_id="r-1", status="planned"),
        change(3, 1, "update", focus_group_id="g-1", project_id="r-1", status="completed"),
        change(0, focus_group_id="g-2", project_id="r-1", status="planned"),
        change(5, 1, "delete", focus_group_id="g-2", project_id="r-1", status="planned"),
    ])  # fmt: skip
    surveys = frame(SurveyChanges, [change(1, survey_id="s-1", project_id="r-1", status="closed")])
    given = {FactPersonaInteractions: rows, PersonaChanges: PERSONAS, ResearchProjectChanges: PROJECTS,
             FocusGroupChanges: studies, SurveyChanges: surveys}  # fmt: skip
    active = computed(metrics.DailyActivePersonas, given, DAYS)
    found = computed(metrics.ProjectHealthScores, given | {metrics.DailyActivePersonas: active}, DAYS)
    parts = ("studies", "completed_studies", "personas", "active_personas", "days_since_active", "completion",
             "engagement", "recency", "health_score")  # fmt: skip

    def on(day: int, project: str = "r-1") -> list[float | None]:
        row = found.filter(
            pl.col("score_date") == DAYS[day], pl.col("project_id") == project, pl.col("tenant_id") == "t-1"
        )
        return [row.item(0, name) for name in parts]

    assert on(0) == [2, 0, 2, 0, None, 0, 0, 0, 0]
    assert on(1) == [3, 1, 2, 0, None, 1 / 3, 0, 0, 40 * (1 / 3)]
    assert on(3) == [3, 2, 2, 2, 0, 2 / 3, 1, 1, 40 * (2 / 3) + 60]
    assert on(5) == [2, 2, 1, 2, 2, 1, 1, 1 - 2 / 30, 70 + 30 * (1 - 2 / 30)], "more personas than the project's own"
    assert on(33) == [2, 2, 1, 0, None, 1, 0, 0, 40]
    assert on(3, "r-2") == [0, 0, 0, 0, None, 0, 0, 0, 0]


def test_what_models_cost_a_project_and_a_discussion() -> None:
    def cost(project: str, amount: str, **fields: Any) -> dict[str, Any]:
        made = {"usage_date": DAYS[1], "tenant_id": "t-1", "project_id": project, "feature": "focus_group",
                "provider": "openai", "model": "m", "user_id": "u-1", "currency": "USD", "calls": 2,
                "unpriced_calls": 0, "failed_calls": 0, "input_tokens": 1, "cache_read_tokens": 0,
                "output_tokens": 1, "total_tokens": 2, "cost": Decimal(amount)}  # fmt: skip
        return made | fields

    costs = frame(TenantDailyCosts, [
        cost("r-1", "0.000000000000000001"), cost("r-1", "1", user_id="u-2"), cost("r-1", "5", tenant_id="t-3"),
        cost("", "7"), cost("r-1", "3", feature="", usage_date=DAYS[2]),
    ])  # fmt: skip
    events = frame(DiscussionEvents, [
        {"event_date": DAYS[1], "tenant_id": "t-1", "discussion_id": f"d-{n % 3}", "sequence": n, "project_id": "r-1"}
        for n in range(6)
    ])  # fmt: skip
    found = computed(metrics.ProjectLlmCosts, {TenantDailyCosts: costs, DiscussionEvents: events,
                     ResearchProjectChanges: PROJECTS}, DAYS)  # fmt: skip
    columns = ("usage_date", "feature", "calls", "cost", "discussions", "cost_per_discussion")
    assert found.select(columns).rows() == [
        (DAYS[1], "focus_group", 4, Decimal("1.000000000000000001"), 3, Decimal("0.333333")),
        (DAYS[2], "", 2, Decimal(3), 0, None),
    ]


def test_sql_has_the_numbers_of_the_contracts() -> None:
    variables = yaml.safe_load((manifest.PROJECT / "dbt_project.yml").read_text())["vars"]
    assert variables["active_days"] == metrics.ACTIVE_DAYS
    assert variables["cohort_weeks"] == metrics.COHORT_WEEKS
    (activity,) = (one for one in inputs_of(metrics.WeeklyRetentionCohorts) if one.table is UserActivityDays)
    sunday = dt.date(2024, 1, 7)
    reach = activity.around([sunday])[1] - sunday
    assert reach.days >= 7 * metrics.COHORT_WEEKS + 7, "the first day after its last week may be one without activity"
    assert variables["health_weights"] == metrics.HEALTH_WEIGHTS
    assert sum(metrics.HEALTH_WEIGHTS.values()) == 100
    assert variables["done_focus_group"] == metrics.DONE["focus group"]
    assert variables["done_survey"] == metrics.DONE["survey"]
