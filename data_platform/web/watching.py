"""The thread behind a page that changes while one looks: it takes in what arrives and tells the viewers, each key once
however many watch. Belongs here: how often, and what a fault ends. Not here: what is seen and said (live/, costs/),
connections (viewers)."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Generic

from data_platform.web.viewers import Key, Viewers

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.1
"""From one look at landing to the next; longer where a look takes longer, so that it never takes more than a half."""
TELL_SECONDS = 0.15
"""At least between two messages while events arrive: every second look. At 0.2, of looks that begin a little early or
late, it was now the second and now the third."""
QUIET_SECONDS = 1.0
"""Between two messages while nothing arrives: the clock goes on, and pages take silence for a lost connection."""
AGAIN_SECONDS = 5.0


class Watched(ABC, Generic[Key]):
    """What changes. Called by the watching thread alone, which enters it before the first look and after each fault."""

    name: str

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Of what arrived is still to be taken in: the next look is at once."""

    @abstractmethod
    def step(self) -> bool:
        """Take in some of what arrived; whether there was anything."""

    @abstractmethod
    def messages(self, keys: Collection[Key]) -> Iterable[tuple[Key, str]]:
        """What viewers of these keys are shown now: parts of the page, as HTML."""


class Watch(Generic[Key]):
    """One thing that is watched, its thread, and its viewers."""

    def __init__(self, watched: Watched[Key]) -> None:
        self.watched = watched
        self.viewers = Viewers[Key]()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch; in the server's event loop."""
        self.viewers.begin()
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name=f"watch {self.watched.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join(10)

    def _run(self) -> None:
        """A fault (the lake is away, the disk is full) ends nothing: after a while it is entered anew."""
        while not self._stopped.is_set():
            try:
                with self.watched:
                    self._follow()
            except Exception:
                log.exception("%s is not followed just now, and begins anew", self.watched.name)
                self._stopped.wait(AGAIN_SECONDS)

    def _follow(self) -> None:
        told, new, pause = 0.0, True, 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            new = self.watched.step() or new
            if began - told >= (TELL_SECONDS if new and self.viewers.keys() else QUIET_SECONDS):
                for key, message in self.watched.messages(self.viewers.keys()):
                    self.viewers.tell(key, message)
                told, new = began, False
            took = time.monotonic() - began
            pause = 0.0 if self.watched.waiting else max(LOOK_SECONDS - took, took)
