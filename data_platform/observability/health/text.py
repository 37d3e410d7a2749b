"""Text that comes from data, made safe to look at: nothing unseen, nothing that turns other text around, not endless.
Not here: HTML escaping, which the templates do to everything."""

from __future__ import annotations

import unicodedata

LONGEST = 200
LONGEST_TITLE = 1_000
MOST_MARKS = 2
"""Combining marks on one letter; more of them climb over the lines around."""
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories of what cannot be seen: control, format (bidi, zero width, tags), lone surrogates, line ends."""


def visible(value: object) -> str:
    """The value as text in which each character can be seen; others are shown by their number, as `⟨U+202E⟩`."""
    text = "" if value is None else str(value)
    if text.isascii() and text.isprintable():  # nearly all of it
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in UNSEEN or marks > MOST_MARKS:
            shown.append(f"⟨U+{ord(character):04X}⟩")
        else:
            shown.append(character)
    return "".join(shown)


def cut(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def visible_start(value: object, longest: int) -> str:
    """`visible` of a text that may be very long: only its beginning is looked at."""
    return cut(visible(("" if value is None else str(value))[: longest + 1]), longest)
