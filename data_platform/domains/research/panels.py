"""What people look at of research: how projects do, who is active, how diverse personas are, who comes back.
Not here: what the numbers are (contracts), how they are drawn (web/dashboards)."""

from __future__ import annotations

from data_platform.core.contract.panels import Chart, Dashboard, Panel
from data_platform.domains.research.contracts.metrics import (
    DailyActivePersonas,
    ProjectDiversity,
    ProjectHealthScores,
    WeeklyRetentionCohorts,
)

DASHBOARD = Dashboard(
    "Research",
    (
        Panel(
            "Project health",
            "Of 100: 40 for studies that are done, 30 for personas that were active in 30 days, 30 for how long ago "
            "anything was done. Zero is a project that nobody touched for a month and that has nothing done.",
            Chart.LINES,
            {"health": ProjectHealthScores.health_score},
            by=ProjectHealthScores.project,
        ),
        Panel(
            "Active personas",
            "Personas that anybody created, edited, discussed with or surveyed on the day, in the 7 and in the 30 days "
            "ending with it.",
            Chart.LINES,
            {
                "in 30 days": DailyActivePersonas.monthly_active_personas,
                "in 7 days": DailyActivePersonas.weekly_active_personas,
                "on the day": DailyActivePersonas.active_personas,
            },
            by=DailyActivePersonas.project,
        ),
        Panel(
            "Persona diversity",
            "Means over the attributes of a project's personas: evenness is 1 where all values are equally frequent, 0 "
            "where there is one; the distance to the target is 0 where they are whom the project wants to hear.",
            Chart.LINES,
            {
                "Shannon evenness": ProjectDiversity.shannon_evenness,
                "Simpson evenness": ProjectDiversity.simpson_evenness,
                "distance to the target": ProjectDiversity.target_distance,
            },
            by=ProjectDiversity.project,
        ),
        Panel(
            "Who comes back",
            "Of the users who signed up in a week: the share who did anything with a persona that week and in weeks "
            "after it. Empty while a week is not over.",
            Chart.COHORTS,
            {
                "week 0": WeeklyRetentionCohorts.week_0,
                "week 1": WeeklyRetentionCohorts.week_1,
                "week 2": WeeklyRetentionCohorts.week_2,
                "week 3": WeeklyRetentionCohorts.week_3,
                "week 4": WeeklyRetentionCohorts.week_4,
                "week 6": WeeklyRetentionCohorts.week_6,
                "week 8": WeeklyRetentionCohorts.week_8,
                "week 12": WeeklyRetentionCohorts.week_12,
            },
            weight=WeeklyRetentionCohorts.cohort_users,
        ),
    ),
    position=40,
)
