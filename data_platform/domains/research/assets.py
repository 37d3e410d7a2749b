"""How the research tables hang together: names, lineage, one call each.
Not here: what a table is (contracts) or what it computes (transforms)."""

from __future__ import annotations

from functools import partial

from data_platform.core.contract.change_logs import clean_changes, history
from data_platform.core.orchestration.assets import asset
from data_platform.domains.research.contracts import registry

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
