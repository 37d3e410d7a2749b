"""A transform that computes otherwise for a while, whoever holds it: assets took theirs at import.
Not here: any assertion, any transform."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def computed_otherwise(transform: Any, otherwise: Callable[..., Any]) -> Iterator[None]:
    """Inside the block a call of the transform is one of `otherwise`, which is handed the original first."""
    code, defaults = transform.__code__, transform.__kwdefaults__
    original = types.FunctionType(code, transform.__globals__, transform.__name__, transform.__defaults__)
    original.__kwdefaults__ = defaults
    transform.__code__ = (lambda *given, _otherwise, **named: _otherwise(*given, **named)).__code__
    transform.__kwdefaults__ = {"_otherwise": functools.partial(otherwise, original)}
    try:
        yield
    finally:
        transform.__code__, transform.__kwdefaults__ = code, defaults


def broken(*_: Any, **__: Any) -> Any:
    """For `computed_otherwise`: the transform fails."""
    raise ValueError("broken")
