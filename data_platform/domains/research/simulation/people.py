"""Who takes part: personas with demographics, values and a way of speaking, and what they say of a theme.
Not here: when they say it."""

from __future__ import annotations

from typing import Any

import numpy as np

TENANTS = ("aurora-games", "lumen-foods")
NAMES = (
    "Ada", "Bruno", "Chiara", "Dawit", "Elif", "Farid", "Greta", "Hana", "Ivo", "Jola", "Kofi", "Lena", "Mateo",
    "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Sven", "Tomasz", "Uma", "Victor", "Wanda", "Xenia", "Yusuf", "Zofia",
)  # fmt: skip
SEGMENTS = ("explorers", "collectors", "competitors", "storytellers")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gender": ("female", "male", "other"),
    "age_group": ("18-29", "30-44", "45-59", "60+"),
    "region": ("north", "south", "east", "west"),
    "education": ("school", "vocational", "university"),
}
VALUES = ("security", "freedom", "tradition", "achievement", "curiosity", "family")
THEMES = ("price", "story", "friends", "difficulty", "music", "trust")
OPENINGS = ("I like", "I doubt", "What matters to me is", "For me it is all about", "I would pay for", "I am tired of")
ENDINGS = (
    "because it saves me time", "when I play with friends", "after a long day", "but only if it is fair",
    "and my family agrees", "as long as nobody is left out", "even though it costs more",
)  # fmt: skip
# Some write in Polish: what searches and counts words must not expect English.
POLISH = ("Najważniejsza jest dla mnie cena", "Lubię dobrą historię", "Nie ufam takim grom", "Muzyka tworzy klimat")


def persona(number: int, tenant: str, project: str, rng: np.random.Generator) -> dict[str, Any]:
    """The fields of a persona. Its demographics lean to the first value of each attribute, as convenient samples do."""
    demographics: dict[str, Any] = {}
    for attribute, values in ATTRIBUTES.items():
        weights = np.arange(len(values), 0, -1, dtype=float)
        demographics[attribute] = str(rng.choice(values, p=weights / weights.sum()))
    chosen = rng.choice(VALUES, 2, replace=False)
    segment = SEGMENTS[number % len(SEGMENTS)]
    name = f"{NAMES[number % len(NAMES)]} {chr(65 + number // len(NAMES) % 26)}."
    return {
        "persona_id": f"persona-{number + 1:04}",
        "tenant_id": tenant,
        "project_id": project,
        "name": name,
        "segment": segment,
        "demographics": demographics,
        "background": f"{name} lives in the {demographics['region']} and belongs to the {segment}.",
        "personal_values": {str(value): round(float(rng.uniform(0.3, 1)), 2) for value in chosen},
    }


def says(theme: str, rng: np.random.Generator) -> str:
    """A sentence or two about a theme."""
    if rng.random() < 0.15:
        return str(rng.choice(POLISH))
    first = f"{rng.choice(OPENINGS)} the {theme} {rng.choice(ENDINGS)}."
    return first if rng.random() < 0.6 else f"{first} The {rng.choice(THEMES)} matters less."


def target_demographics() -> dict[str, dict[str, float]]:
    """Whom a project wants to hear: each attribute's values evenly."""
    return {attribute: {value: round(1 / len(v), 4) for value in v} for attribute, v in ATTRIBUTES.items()}
