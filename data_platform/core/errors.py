"""The one error a person is meant to read. Belongs here: the base class, how near misses and numbers are told.
Not here: errors that only code catches."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_MEANT = 3


class PlatformError(Exception):
    """Something a person can fix: `problem` says what is wrong and where, `remedy` what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[PlatformError], tuple[str, str]]:
        """Also in another process: exceptions are made again from what `Exception` was given, which is one text."""
        return PlatformError, (self.problem, self.remedy)


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """ "Did you mean …? " where something known is spelt nearly alike, else nothing: a remedy begins with it."""
    near = difflib.get_close_matches(word[:100], sorted(set(known)), n=MOST_MEANT, cutoff=0.7)
    return f"Did you mean {' or '.join(prefix + name for name in near)}? " if near else ""


def counted(number: int, thing: str) -> str:
    """ "1 row", "2,000 rows": a number in a message to people."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
