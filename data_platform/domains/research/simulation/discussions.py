"""The events of a focus group, as its event store records them. Not here: which groups there are, what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_platform.domains.research.simulation.people import THEMES, says
from data_platform.simulation.text import SECOND, uuids

Row = dict[str, Any]
_FOLLOWED_UP, _ANSWERED = 0.3, 0.85
"""Chance that a response is asked about again, and that this is answered."""


@dataclass(frozen=True)
class Group:
    """Who discusses what: `begins` in ms since 1970."""

    discussion_id: str
    focus_group_id: str
    tenant_id: str
    project_id: str
    moderator: str
    personas: Sequence[str]
    questions: int
    begins: int


def discussion(group: Group, first_version: bool, rng: np.random.Generator) -> list[Row]:
    """All events of a discussion in the order of their sequence, `occurred_at` in ms; in the first version of their
    shape or the newest."""
    told = _Telling(group, first_version, rng)
    start = told.tell("discussion_started", told.data(says(THEMES[0], rng), focus_group_id=group.focus_group_id))
    for number in range(group.questions):
        question = f"q{number + 1}"
        theme = str(rng.choice(THEMES))
        asked = told.tell("followup", told.data(f"What of the {theme}?", question_id=question), cause=start)
        for persona in rng.permutation(np.array(group.personas)):
            said = told.tell("response", told.data(says(theme, rng), question_id=question), str(persona), asked)
            if rng.random() < _FOLLOWED_UP:
                again = told.tell("followup", told.data("Why is that?", question_id=question), str(persona), said)
                if rng.random() < _ANSWERED:
                    told.tell("response", told.data(says(theme, rng), question_id=question), str(persona), again)
    told.tell("discussion_ended", {"reason": "completed"}, cause=start)
    return told.events


class _Telling:
    """Events numbered and timed one after another."""

    def __init__(self, group: Group, first_version: bool, rng: np.random.Generator) -> None:
        self.events: list[Row] = []
        self._group, self._first_version, self._rng = group, first_version, rng
        self._at = group.begins

    def data(self, text: str, **more: str) -> Row:
        if not self._first_version:
            return {"text": text, **more}
        old = {"question_id": "question", "focus_group_id": "group"}
        return {"message": text, **{old[name]: value for name, value in more.items()}}

    def tell(self, kind: str, data: Row, persona: str | None = None, cause: str | None = None) -> str:
        """Record an event; its id. Whoever speaks for no persona is the moderator."""
        event_id = str(uuids(self._rng, 1)[0])
        newest = 1 if kind == "discussion_ended" or self._first_version else 2
        self.events.append(
            {
                "discussion_id": self._group.discussion_id,
                "sequence": len(self.events) + 1,
                "event_id": event_id,
                "event_type": kind,
                "occurred_at": self._at,
                "event_version": newest,
                "event_data": data,
                "causation_id": cause,
                "correlation_id": self._group.discussion_id,
                "project_id": self._group.project_id,
                "persona_id": persona,
                "user_id": None if kind == "response" else self._group.moderator,
                "tenant_id": self._group.tenant_id,
            }
        )
        self._at += int(self._rng.integers(5 * SECOND, 60 * SECOND))
        return event_id
