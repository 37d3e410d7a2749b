"""Who calls language models, and how: a tenant's rhythm, models and prompts. Made-up tenants.
Not here: what happens on a day (usage), what models cost (price_list)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_platform.simulation.text import Floats

OFFICE, EVENING, NIGHT = (9, 17), (17, 23), (1, 5)
"""First and last hour (UTC) that is busy."""

OUR_LINE, ANSWER = "line", "answer"
"""How a tenant reports: lines of the platform's own shape, or what OpenAI answered as it is."""


@dataclass(frozen=True)
class Tenant:
    """A tenant and its habits."""

    name: str
    share: float
    """Of all calls, on a day like any other."""
    busy: tuple[int, int]
    weekend: float
    """Calls on a Saturday or Sunday, for one on a weekday."""
    provider: str
    model: str
    features: tuple[str, ...]
    prompt: int
    """Tokens of a usual prompt."""
    answer: int
    tier: str | None = None
    reports: str = OUR_LINE

    def hours(self) -> Floats:
        """The chance of each hour of a call."""
        first, last = self.busy
        weights = np.where((np.arange(24) >= first) & (np.arange(24) <= last), 6.0, 1.0)
        chances: Floats = weights / weights.sum()
        return chances


SUPPORT = Tenant("support-desk", 0.30, OFFICE, 0.3, "anthropic", "claude-sonnet-4-5", ("answers", "triage"), 2400, 350)
"""Rolls out cached prompts: from a day on, most of what its prompts repeat is read from the cache."""
STORIES = Tenant("story-lab", 0.25, EVENING, 1.4, "openai", "gpt-5", ("quests", "npcs"), 1500, 700, reports=ANSWER)
"""Switches to a cheaper model from a day on."""
GUILDS = Tenant("guild-bots", 0.20, EVENING, 1.6, "google", "gemini-2.5-flash", ("chat", "summaries"), 900, 250)
"""Has a loop that runs away for three hours."""
MODERATION = Tenant("moderation", 0.15, EVENING, 1.2, "bedrock", "amazon.nova-lite-v1:0", ("screening",), 600, 30)
REPORTS = Tenant("reports", 0.10, NIGHT, 1.0, "openai", "gpt-5-mini", ("churn_summaries",), 4000, 500, tier="batch")

TENANTS = (SUPPORT, STORIES, GUILDS, MODERATION, REPORTS)
