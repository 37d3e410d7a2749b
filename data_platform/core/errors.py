"""The one error a person is meant to read. Belongs here: the base class. Not here: errors that only code catches."""

from __future__ import annotations


class PlatformError(Exception):
    """Something a person can fix: `problem` says what is wrong and where, `remedy` what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy
