"""The research studio as a part of the simulation: people sign up, make personas, hold focus groups and surveys; and
what is true of all of it. Some of its people are players too, under the same id."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from data_platform.core.lake.store import Lake
from data_platform.domains.gameplay.simulation.game import Game
from data_platform.domains.metering.simulation.usage import ModelCalls, dollars
from data_platform.domains.research.contracts.findings import FocusGroupEffectiveness
from data_platform.domains.research.simulation.calls import calls_of
from data_platform.domains.research.simulation.dirt import BROKEN_LINES, Row, soil
from data_platform.domains.research.simulation.discussions import Group, discussion
from data_platform.domains.research.simulation.people import TENANTS, THEMES, persona, says, target_demographics
from data_platform.simulation.company import Company, Part
from data_platform.simulation.scenario import Scenario
from data_platform.simulation.text import DAY, HOUR, MINUTE
from data_platform.simulation.writer import Landing

_STREAM = "research"
_PROJECTS_EACH = 2
_FEWEST, _MOST = 16, 200  # personas
_GROUPS_A_DAY = 2
_SIZE, _QUESTIONS = 5, 3  # of a focus group
_LONG_QUESTIONS = 24  # of the one group that is long enough for snapshots
_EXPERIMENT = 5  # every so many discussions one is held with a model that is on no price list
_STAYS = 0.93  # from day to day, of those who signed up
_OPTIONS = ("story", "friends", "competition", "music")
_QUESTIONS_OF_A_SURVEY: tuple[Row, ...] = (
    {"question_id": "q1", "position": 1, "question_type": "single_choice", "text": "What do you look for most?",
     "options": {"options": list(_OPTIONS)}},
    {"question_id": "q2", "position": 2, "question_type": "multiple_choice", "text": "What else do you look for?",
     "options": {"options": list(_OPTIONS)}},
    {"question_id": "q3", "position": 3, "question_type": "rating_scale", "text": "How likely would you buy it?",
     "scale_min": 1, "scale_max": 5},
    {"question_id": "q4", "position": 4, "question_type": "open_text", "text": "Why?"},
)  # fmt: skip


class Studio(Part):
    """State of the studio: who is here, and what is still on its way."""

    def __init__(self, scenario: Scenario, company: Company) -> None:
        super().__init__(scenario, company)
        rng = scenario.random(_STREAM)
        self._model_calls = company.part(ModelCalls)
        players = company.part(Game).world.players.id
        self._people = [*players.head(4), *(f"researcher-{n}" for n in range(1, 9))]
        self._signs_up = [n * scenario.days // len(self._people) for n in range(len(self._people))]
        self._projects = [
            {"project_id": f"project-{n + 1}", "tenant_id": TENANTS[n % len(TENANTS)], "user_id": self._people[n]}
            for n in range(_PROJECTS_EACH * len(TENANTS))
        ]
        count = min(_MOST, max(_FEWEST, scenario.players // 10))
        owners = [self._projects[n % len(self._projects)] for n in range(count)]
        self._personas = [persona(n, owner["tenant_id"], owner["project_id"], rng) for n, owner in enumerate(owners)]
        self._gone: set[str] = set()
        self._after_midnight: list[Row] = []
        self._late: list[Row] = []
        self._focus_groups: list[Row] = []
        self._held: list[Row] = []
        self._said: Counter[str] = Counter()
        self._costs: dict[str, int | None] = {}
        self._begun = 0
        self._experimental: frozenset[str] = frozenset()

    def live(self, day: int, landing: Landing) -> None:
        rng, today = self.scenario.random(_STREAM, day + 1), self.scenario.midnight(day)
        changes = self._changes(day, today, rng)
        active = self._active(day, rng)
        interactions = self._interactions(active, today, rng)
        answers = self._answers(today, rng) if day % 7 == 3 else []
        events = self._events(day, today, rng)
        changes["focus_groups"] = _inserted(self._focus_groups, today) + _changed(self._held, "update", today + HOUR)
        self._held, self._focus_groups = [one | {"status": "completed"} for one in self._focus_groups], []
        for folder, rows in changes.items():
            _write(landing, self.scenario, day, folder, rows)
        self._said["persona_interactions"] += len(interactions)
        self._said["survey_answers"] += len(answers)
        self._said["discussion_events"] += len(events)
        self._call_models(day, events, landing)
        arriving, late, broken = events, list[Row](), list[str]()
        if self.scenario.dirty:
            arriving, late = soil(events, self.scenario.random(_STREAM, day + 1, 1), self._said)
            interactions, broken = interactions + interactions[:1], list(BROKEN_LINES[day % 2 :])
            self._said["interaction_copies"] += len(interactions[:1])
            self._said["broken_lines"] += len(broken)
        arriving, self._late = self._late + arriving, late
        if day + 1 == self.scenario.days:
            arriving, self._late = arriving + self._late, []
        _write(landing, self.scenario, day, "persona_interactions", interactions)
        _write(landing, self.scenario, day, "survey_answers", answers)
        _write(landing, self.scenario, day, "discussion_events", arriving, broken)

    def finish(self, landing: Landing) -> dict[str, Any]:
        costs = {name: None if pico is None else dollars(pico) for name, pico in sorted(self._costs.items())}
        counted = dict(sorted(self._said.items()))
        return {"research": {**counted, "personas": len(self._personas), "discussion_costs": costs}}

    @classmethod
    def told(cls, lake: Lake, facts: Mapping[str, Any]) -> Iterable[str]:
        """What focus groups cost, beside what is true."""
        true = facts.get("research", {}).get("discussion_costs")
        if not true or not lake.exists(FocusGroupEffectiveness):
            return
        groups = lake.scan(FocusGroupEffectiveness).select("discussion_id", "llm_calls", "llm_cost").collect()
        known = {name: None if cost is None else Decimal(cost) for name, cost in true.items()}
        same = sum(known.get(name) == cost for name, _, cost in groups.iter_rows())
        yield "\nCost of focus groups (research/focus_group_effectiveness):"
        for name, calls, cost in groups.sort("llm_cost", descending=True, nulls_last=True).head(3).iter_rows():
            told = "a model without a price" if cost is None else f"{cost.normalize():f} USD"
            yield f"  {name:<20} {calls:>6,} calls {told}"
        yield f"  {same:,} of {len(groups):,} discussions cost what was simulated."

    def _call_models(self, day: int, events: list[Row], landing: Landing) -> None:
        """The day's turns are spoken by language models, and what that costs is counted by discussion."""
        calls = calls_of(events, self._experimental, self.scenario.random(_STREAM, day + 1, 2))
        calls = calls.with_columns(pico=self._model_calls.report(day, calls, landing))
        for name, pico in calls.select("discussion_id", "pico").drop_nulls("discussion_id").iter_rows():
            so_far = self._costs.get(name, 0)
            self._costs[name] = None if so_far is None or pico < 0 else so_far + pico

    def _changes(self, day: int, today: int, rng: np.random.Generator) -> dict[str, list[Row]]:
        """What changes in the application's tables, by folder."""
        new = [n for n, at in enumerate(self._signs_up) if at == day]
        users = [
            {"user_id": self._people[n], "tenant_id": TENANTS[n % len(TENANTS)], "role": "analyst",
             "email": f"research{n}@example.org", "signed_up_at": today}
            for n in new
        ]  # fmt: skip
        changes = {"research_users": _inserted(users, today)}
        if day == 0:
            target = target_demographics()
            named = [
                {**project, "name": f"Project {project['project_id']}", "status": "active", "language": "en",
                 "target_demographics": target, "created_at": today}
                for project in self._projects
            ]  # fmt: skip
            changes["research_projects"] = _inserted(named, today)
            changes["personas"] = _inserted([one | {"created_at": today} for one in self._personas], today)
            changes["surveys"] = _inserted([_survey(one) | {"status": "open"} for one in self._projects], today)
            questions = [_survey(one, True) | asked for one in self._projects for asked in _QUESTIONS_OF_A_SURVEY]
            changes["survey_questions"] = _inserted(questions, today)
        else:
            edited = rng.integers(0, len(self._personas))
            again = self._personas[edited] | {"background": says(str(rng.choice(THEMES)), rng)}
            self._personas[edited] = again
            changes["personas"] = _changed([again], "update", today + int(rng.integers(HOUR, 20 * HOUR)))
        return changes

    def _active(self, day: int, rng: np.random.Generator) -> list[int]:
        """Who works today: some leave for good each day."""
        here = [n for n, at in enumerate(self._signs_up) if at <= day and self._people[n] not in self._gone]
        self._gone |= {self._people[n] for n in here if self._signs_up[n] < day and rng.random() > _STAYS}
        return [
            n for n in here if self._people[n] not in self._gone and (self._signs_up[n] == day or rng.random() < 0.7)
        ]

    def _interactions(self, active: Iterable[int], today: int, rng: np.random.Generator) -> list[Row]:
        rows: list[Row] = []
        for n in active:
            projects = [one for one in self._projects if one["tenant_id"] == TENANTS[n % len(TENANTS)]]
            for _ in range(int(rng.integers(1, 6))):
                project = projects[int(rng.integers(0, len(projects)))]
                mine = [one for one in self._personas if one["project_id"] == project["project_id"]]
                begins = today + int(rng.integers(7 * HOUR, 20 * HOUR))
                rows.append(
                    {
                        "interaction_id": f"i-{today // DAY}-{len(rows)}",
                        "interaction_type": str(rng.choice(["created", "edited", "discussed", "surveyed"])),
                        "persona_id": mine[int(rng.integers(0, len(mine)))]["persona_id"],
                        "user_id": self._people[n],
                        "project_id": project["project_id"],
                        "tenant_id": project["tenant_id"],
                        "started_at": begins,
                        "ended_at": begins + int(rng.integers(MINUTE, 50 * MINUTE)),
                    }
                )
        return rows

    def _answers(self, today: int, rng: np.random.Generator) -> list[Row]:
        """Every persona answers its project's survey."""
        rows: list[Row] = []
        for one in self._personas:
            given: tuple[Row, ...] = (
                {"choice": str(rng.choice(_OPTIONS))},
                {"choices": sorted(map(str, rng.choice(_OPTIONS, 2, replace=False)))},
                {"rating": int(rng.integers(1, 6))},
                {"text": says(str(rng.choice(THEMES)), rng)},
            )
            at = today + int(rng.integers(9 * HOUR, 18 * HOUR))
            for asked, answer in zip(_QUESTIONS_OF_A_SURVEY, given, strict=True):
                named = f"a-{today // DAY}-{one['persona_id']}-{asked['question_id']}"
                rows.append(
                    _survey(one, True)
                    | {"answer_id": named, "question_id": asked["question_id"], "persona_id": one["persona_id"],
                       "respondent_id": one["persona_id"], "answered_at": at, "answer": answer}
                )  # fmt: skip
        return rows

    def _events(self, day: int, today: int, rng: np.random.Generator) -> list[Row]:
        """Today's events of the discussions that begin today, and of yesterday's that went past midnight."""
        begun = self._after_midnight
        for number in range(_GROUPS_A_DAY):
            group = self._group(day, number, today, rng)
            self._focus_groups.append(_focus_group(group, today))
            self._begun += 1
            if self._begun % _EXPERIMENT == 0:
                self._experimental |= {group.discussion_id}
            begun = begun + discussion(group, 3 * day < self.scenario.days, rng)
        last_day = day + 1 == self.scenario.days
        is_today = [event["occurred_at"] < today + DAY for event in begun]
        self._after_midnight = [event for event, now in zip(begun, is_today, strict=True) if not now]
        if last_day:  # what would come after the end of the simulation did not happen
            self._after_midnight = []
        return [event for event, now in zip(begun, is_today, strict=True) if now]

    def _group(self, day: int, number: int, today: int, rng: np.random.Generator) -> Group:
        """One at eleven, and one five minutes before midnight, which goes on tomorrow."""
        project = self._projects[(day * _GROUPS_A_DAY + number) % len(self._projects)]
        there = [one["persona_id"] for one in self._personas if one["project_id"] == project["project_id"]]
        named = f"{day + 1}-{number + 1}"
        return Group(
            discussion_id=f"discussion-{named}",
            focus_group_id=f"group-{named}",
            tenant_id=project["tenant_id"],
            project_id=project["project_id"],
            moderator=project["user_id"],
            personas=[str(one) for one in rng.choice(there, min(_SIZE, len(there)), replace=False)],
            questions=_LONG_QUESTIONS if day == number == 0 else _QUESTIONS,
            begins=today + (11 + 13 * number) * HOUR - 5 * MINUTE * number,
        )


def _focus_group(group: Group, today: int) -> Row:
    return {
        "focus_group_id": group.focus_group_id, "project_id": group.project_id, "tenant_id": group.tenant_id,
        "user_id": group.moderator, "title": f"Focus group {group.focus_group_id}", "topic": THEMES[0],
        "status": "planned", "planned_questions": group.questions, "created_at": today,
    }  # fmt: skip


def _survey(of: Row, bare: bool = False) -> Row:
    """The survey of a project (or of a persona's), or only what names it."""
    named = {"survey_id": f"survey-{of['project_id']}", "project_id": of["project_id"], "tenant_id": of["tenant_id"]}
    return named if bare else named | {"title": f"Survey of {of['project_id']}", "user_id": of["user_id"]}


def _inserted(rows: list[Row], at: int) -> list[Row]:
    return _changed(rows, "insert", at)


def _changed(rows: list[Row], operation: str, at: int) -> list[Row]:
    return [row | {"operation": operation, "changed_at": at} for row in rows]


def _write(
    landing: Landing, scenario: Scenario, day: int, folder: str, rows: list[Row], broken: Iterable[str] = ()
) -> None:
    """Rows as lines, their moments (fields ending in `_at`) as text; and lines that are none."""
    if not rows:
        return
    lines = [json.dumps(_with_moments(row), ensure_ascii=False) for row in rows] + list(broken)
    with landing.lines(scenario.date(day), folder) as file:
        file.write(pl.DataFrame({"line": lines}))


def _with_moments(row: Row) -> Row:
    moments = {name: value for name, value in row.items() if name.endswith("_at") and isinstance(value, int)}
    return row | {name: _iso(value) for name, value in moments.items()}


def _iso(at: int) -> str:
    """Milliseconds since 1970 as an ISO timestamp."""
    return dt.datetime.fromtimestamp(at / 1000, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
