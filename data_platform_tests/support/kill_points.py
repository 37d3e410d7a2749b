"""A process that kills itself (SIGKILL) at a chosen call of a chosen function.
Not here: which functions (kill_helper and others)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(points: Mapping[str, tuple[Any, str]], point: str) -> None:
    """`name:before|after:n`: die just before or after the n-th call of the function that `points` has by this name."""
    name, when, number = point.split(":")
    owner, attribute = points[name]
    original: Callable[..., Any] = getattr(owner, attribute)
    calls = 0

    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        is_it = calls == int(number)  # other threads may call it meanwhile
        if when == "before" and is_it:
            kill_self()
        result = original(*arguments, **named)
        if when == "after" and is_it:
            kill_self()
        return result

    setattr(owner, attribute, armed)
