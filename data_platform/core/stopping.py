"""A wish to stop (Ctrl-C, SIGTERM), noted whoever handles the signal: for every run Dagster puts handlers of its own in
place, and drops what comes between two steps. Not here: what a command says when it stops (cli)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []


def stop_requested() -> int | None:
    """The signal that asked this process to stop; None while nobody did."""
    return _received[0] if _received else None


def stop_if_requested() -> None:
    """At a safe point between two pieces of work: raise KeyboardInterrupt when somebody wants the process to stop."""
    if _received:
        raise KeyboardInterrupt


@contextmanager
def noting_stops(first: Callable[[], None]) -> Iterator[None]:
    """Note signals while inside; `first` is called at the first one. A second one ends the process there and then:
    nothing is half-written whenever that happens."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a script started it in the background
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # The interpreter writes the number of each signal here, before any handler of whatever library runs.
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def note() -> None:
        while number := os.read(reading, 1):
            if number[0] not in STOPS:
                continue
            _received.append(number[0])
            if len(_received) > 1:
                os._exit(128 + _received[0])
            first()

    threading.Thread(target=note, daemon=True, name="stop signals").start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
