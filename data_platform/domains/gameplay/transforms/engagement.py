"""How engaged players are: the weight of each event, and the scores made of them.
Not here: counting events (`activity.py`), features for models (`churn.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EVENT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "login": 1,
        "combat_start": 3,
        "combat_end": 2,
        "spell_cast": 2,
        "dialogue_choice": 2,
        "item_acquired": 2,
        "level_up": 10,
        "party_join": 5,
        "message_sent": 3,
        "trade_completed": 6,
        "quest_started": 4,
        "quest_completed": 8,
    }
)
"""Engagement points of one event, by type. What takes commitment or other people weighs more than
what happens by itself. Whole numbers keep sums exact, so points do not depend on the order of adding events up."""

OTHER_EVENT_WEIGHT: float = 1
"""Engagement points of an event of any other type."""
