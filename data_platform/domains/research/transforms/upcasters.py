"""Old versions of events read as new ones: one pure step per event type and version, from the version to the next.
Belongs here: what was renamed or moved in `event_data`. Not here: which events count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Data = Mapping[str, Any]

NEWEST: Mapping[str, int] = {"discussion_started": 2, "response": 2, "followup": 2, "discussion_ended": 1}
"""The version that each event type has now."""


def _with_new_names(names: Mapping[str, str]) -> Callable[[Data], Data]:
    """Give fields their new names. A field that already has the new name keeps its value."""

    def renamed(data: Data) -> Data:
        kept = {key: value for key, value in data.items() if key not in names}
        return {names[key]: value for key, value in data.items() if key in names} | kept

    return renamed


UPCASTERS: Mapping[tuple[str, int], Callable[[Data], Data]] = {
    ("discussion_started", 1): _with_new_names({"group": "focus_group_id", "message": "text"}),
    ("response", 1): _with_new_names({"message": "text", "question": "question_id"}),
    ("followup", 1): _with_new_names({"message": "text", "question": "question_id"}),
}
"""(event type, version) → what makes data of that version data of the next."""


def upcast(event_type: str, version: int, data: Data) -> Data:
    """The data of an event in the newest version of its type. Raises KeyError for a type or version nobody knows."""
    for old in range(version, NEWEST[event_type]):
        data = UPCASTERS[event_type, old](data)
    return data
