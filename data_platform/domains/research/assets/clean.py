"""Change logs, activity, and discussions with their states and snapshots, as assets: names, lineage, one call each.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import dagster as dg
import polars as pl

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.core.contract.received import RejectedRows
from data_platform.core.contract.table import Days, Table
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.checks import CheckOutcome
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import Check, StepRun, step
from data_platform.domains.research.contracts import activity, discussions, registry
from data_platform.domains.research.transforms.activity import clean_answers, clean_interactions
from data_platform.domains.research.transforms.discussion_events import clean_discussion_events
from data_platform.domains.research.transforms.discussions import discussion_snapshots, discussion_states
from data_platform.domains.research.transforms.each_once import EachOnce

CHANGE_LOGS = (
    (registry.RawResearchUserChanges, registry.ResearchUserChanges, registry.ResearchUsers),
    (registry.RawResearchProjectChanges, registry.ResearchProjectChanges, registry.ResearchProjects),
    (registry.RawPersonaChanges, registry.PersonaChanges, registry.Personas),
    (registry.RawFocusGroupChanges, registry.FocusGroupChanges, registry.FocusGroups),
    (registry.RawSurveyChanges, registry.SurveyChanges, registry.Surveys),
    (registry.RawSurveyQuestionChanges, registry.SurveyQuestionChanges, registry.SurveyQuestions),
)
"""(as received, change log, SCD2 history) of everything that changes."""

change_logs = [asset(log, partial(clean_changes, contract=log), raw=raw) for raw, log, _ in CHANGE_LOGS]
histories = [asset(scd2, partial(history, contract=scd2), changes=log) for _, log, scd2 in CHANGE_LOGS]


def each_once_step(
    clean: type[Table],
    rejected: type[RejectedRows],
    raw: Days,
    cleaned: Callable[[pl.LazyFrame, list[dt.date]], EachOnce],
) -> dg.AssetsDefinition:
    """The step of a clean table and its rejected rows, from one reading of the raw one. A day's balance is a check."""
    balance = Check(
        "raw_equals_clean_plus_duplicates_plus_rejected",
        clean,
        f"For each day: rows in {raw.table.key} = clean rows + duplicates + rejected rows.",
        blocking=True,
    )
    spec = spec_for(clean, {"raw": raw}, automation_condition=when_inputs_change())
    beside = spec_for(rejected, {"raw": raw}, computed_with=clean, automation_condition=when_inputs_change())

    @step(
        computed_by(spec, clean, cleaned),
        computed_by(beside, rejected, cleaned),
        name=f"clean_{clean.table_name()}",
        description=cleaned.__doc__,
        checks=[balance],
    )
    def compute(run: StepRun) -> None:
        version = run.lake.version(raw.table)
        received = run.lake.rows(raw.table, version)
        duplicates: Counter[str] = Counter()

        def clean_days(days: list[dt.date]) -> None:
            first, last = raw.around(days)
            found = cleaned(run.lake.scan(raw.table, first, last, version), days)
            published = run.publish(clean, [found.kept], days)
            # A day whose rows were refused keeps its rejected ones too: the two tables tell of one reading.
            if published:
                kept = found.rejected.filter(pl.col("event_date").is_in(published))
                run.publish(rejected, [kept], published)
            duplicates.update({str(day): count for day, count in found.duplicates.iter_rows()})

        run.compute_each(clean, {"raw": raw}, clean_days)
        rows = run.publication(clean).rows, duplicates, run.publication(rejected).rows
        run.found(balance.name, {day: _balance(received.get(day, 0), *_of_day(day, *rows)) for day in rows[0]})

    return compute


def _of_day(day: str, *counts: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(counted.get(day, 0) for counted in counts)


def _balance(raw: int, clean: int, duplicates: int, rejected: int) -> CheckOutcome:
    counts = {"raw": raw, "clean": clean, "duplicates": duplicates, "rejected": rejected}
    return CheckOutcome(raw == clean + duplicates + rejected, counts, raw)


clean_persona_interactions = each_once_step(
    activity.PersonaInteractions,
    activity.PersonaInteractionsRejected,
    activity.RawPersonaInteractions.days(),
    clean_interactions,
)
clean_survey_answers = each_once_step(
    activity.SurveyAnswers, activity.SurveyAnswersRejected, activity.RawSurveyAnswers.days(), clean_answers
)
# An event told again for a place that an earlier day has is a conflict, so a day needs the days before it.
events_of_discussions = each_once_step(
    discussions.DiscussionEvents,
    discussions.DiscussionEventsRejected,
    discussions.RawDiscussionEvents.until(),
    clean_discussion_events,
)
states_of_discussions = asset(discussions.Discussions, discussion_states, events=discussions.DiscussionEvents)
snapshots_of_discussions = asset(
    discussions.DiscussionSnapshots, discussion_snapshots, events=discussions.DiscussionEvents.until()
)

# Written by `data-platform research compact`, never by a run of its own.
compacted_discussions = spec_for(discussions.CompactedDiscussions)
