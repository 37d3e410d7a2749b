"""Change logs, activity, and discussions with their states and snapshots, as assets: names, lineage, one call each.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial

import dagster as dg
import polars as pl

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.core.contract.table import Days, Table
from data_platform.core.orchestration.assets import asset
from data_platform.core.orchestration.cleaning import clean_step
from data_platform.core.orchestration.specs import spec_for
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
    clean: type[Table], rejected: type[Table], raw: Days, transform: Callable[[pl.LazyFrame, list[dt.date]], EachOnce]
) -> dg.AssetsDefinition:
    return clean_step(clean, rejected, raw, lambda rows, days, _: [transform(rows, days)], transform)


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
