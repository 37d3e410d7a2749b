"""Personas as vectors of what is known of them, for want of better ones: segment, demographics, values.
Not here: comparing vectors (persona_similarity).

Every trait is a direction of its own, so that the cosine of two personas is the share of traits they have in common:

- text or truth: the direction of “attribute = value”, in small letters;
- a number: two directions, (cos, sin) of its place between the tenant's least and greatest, as a quarter of a circle:
  equal numbers have the product 1, the two ends 0, and the middle 0.71 with both;
- a list: its members, each 1/√n; an object: its entries, by their path, four deep;
- values that matter with a weight: that share of the greatest weight of the persona.

The 512 directions that most personas have are kept, of all others only the length: they are in common with nobody."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_platform.domains.research.search.models import Vectors

MOST_DIRECTIONS = 512
DEEPEST = 4
LONGEST_VALUE = 80
"""Characters of a text that is compared: a longer one is prose."""
Trait = tuple[str, str]
NUMBER = "\0number"
"""Stands for the value of a trait that is a number."""


def trait_vectors(personas: Sequence[Mapping[str, Any]]) -> Vectors:
    """Personas (with `segment`, `demographics` and `personal_values`) → (personas, directions), each of length 1, or 0
    where nothing is known of it. The same for a persona in whatever order the others come."""
    known = [dict(_traits(persona)) for persona in personas]
    ranges = _ranges(known)
    directed = [_directions(traits, ranges) for traits in known]
    frequent = _most_frequent(directed)
    vectors = np.zeros((len(personas), max(len(frequent), 1)), np.float32)
    for row, directions in zip(vectors, directed, strict=True):
        length = math.sqrt(math.fsum(weight * weight for weight in directions.values())) or 1.0
        for direction, weight in directions.items():
            if (place := frequent.get(direction)) is not None:
                row[place] = weight / length
    return vectors


def _traits(persona: Mapping[str, Any]) -> Iterator[tuple[Trait, float]]:
    """(what, value) → weight; of a number the number itself."""
    if persona["segment"]:
        yield ("segment", str(persona["segment"]).strip().lower()), 1.0
    yield from _entries("demographics", _parsed(persona["demographics"]), 1.0)
    values = {what: weight for what, weight in _parsed(persona["personal_values"]).items() if weight is not None}
    numbers = {what: abs(float(w)) for what, w in values.items() if _is_number(w)}
    most = max(numbers.values(), default=0.0) or 1.0
    for what, weight in values.items():
        if what in numbers:
            yield ("values", what.strip().lower()), numbers[what] / most
        else:
            yield from _entries(f"values.{what}", weight, 1.0)


def _entries(what: str, value: Any, weight: float, depth: int = 0) -> Iterator[tuple[Trait, float]]:
    if depth > DEEPEST or value is None:
        return
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _entries(f"{what}.{name}", one, weight, depth + 1)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, str) and len(one) <= LONGEST_VALUE:
                yield (what, one.strip().lower()), weight / math.sqrt(len(value))
    elif _is_number(value):
        yield (what, NUMBER), float(value)
    elif len(text := str(value).strip().lower()) <= LONGEST_VALUE and text:
        yield (what, text), weight


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(value: Any) -> bool:
    """A finite number; an integer may be too large to be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300  # false for NaN too


def _ranges(known: Sequence[Mapping[Trait, float]]) -> dict[str, tuple[float, float]]:
    """The least and the greatest of every number."""
    found: dict[str, tuple[float, float]] = {}
    for traits in known:
        for (what, value), number in traits.items():
            if value == NUMBER:
                low, high = found.get(what, (number, number))
                found[what] = min(low, number), max(high, number)
    return found


def _directions(traits: Mapping[Trait, float], ranges: Mapping[str, tuple[float, float]]) -> dict[Trait, float]:
    found: dict[Trait, float] = {}
    for (what, value), weight in traits.items():
        if value != NUMBER:
            found[what, value] = weight
            continue
        low, high = ranges[what]
        angle = (weight - low) / (high - low) * math.pi / 2 if high > low else 0.0
        found[what, f"{NUMBER} low"], found[what, f"{NUMBER} high"] = math.cos(angle), math.sin(angle)
    return found


def _most_frequent(directed: Sequence[Mapping[Trait, float]]) -> dict[Trait, int]:
    """Direction → its place: the most frequent ones, of several as frequent those first in order."""
    counted = Counter(direction for directions in directed for direction in directions)
    ranked = sorted(counted, key=lambda direction: (-counted[direction], direction))
    return {direction: place for place, direction in enumerate(ranked[:MOST_DIRECTIONS])}
