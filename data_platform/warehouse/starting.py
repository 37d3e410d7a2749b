"""dbt processes: started, if there is something else to do before it is known what they are to build, and ended.
Belongs here: the life of such a process. Not here: what it does before it is told (dbt_process), what becomes of what
it computes (running)."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from packaging.version import Version

from data_platform.core.scratch import scratch_folder
from data_platform.warehouse.beside_dbt import DbtCliInvocation, DbtCliResource
from data_platform.warehouse.exchange import select
from data_platform.warehouse.manifest import DBT, PROJECT, bring_parsed, digest, keep_parsed

STOP_SECONDS = 10
OPTIONS = ("--no-write-json", "--indirect-selection", "empty", "--log-level-file", "none")
"""Its log is what the step hears; a second one, of all it does, would go with the folder."""
WAITING_DBT = ("-P", "-m", "data_platform.warehouse.dbt_process")
"""Arguments of Python. -P: dbt's folder, in which it runs, is none to import from."""


class Dbt(DbtCliResource):
    """Without what dagster-dbt does before each run: an adapter in Dagster's process (2 s, for a database that is
    another process's memory), and `dbt --version` in a process of its own (2.5 s)."""

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None

    @cached_property
    def _cli_version(self) -> Version:
        return Version(importlib.metadata.version("dbt-core"))


def dbt_of(project: Path) -> Dbt:
    return Dbt(project_dir=str(project), profiles_dir=str(project), dbt_executable=DBT)


def waiting_dbt_of(project: Path) -> Dbt:
    """The same, by a process that waits for what it is to select."""
    flags = [*WAITING_DBT, str(os.getpid())]
    folder = str(project)
    return Dbt(project_dir=folder, profiles_dir=folder, dbt_executable=sys.executable, global_config_flags=flags)


class DbtProcess:
    """dbt's command on our project, which waits until `select` says of what; its folder is its target and the place for
    what it and the step say to each other. Close it: what still runs then is ended."""

    def __init__(self, command: str) -> None:
        self.command, self._project, self._digest = command, PROJECT, digest(PROJECT)
        self._environment = _read_by_dbt()
        self._folder = contextlib.ExitStack()
        self.folder = self._folder.enter_context(scratch_folder("data-platform-dbt-"))
        bring_parsed(self._digest, self.folder)
        self.invocation: DbtCliInvocation = waiting_dbt_of(PROJECT).cli(
            [command, *OPTIONS], raise_on_error=False, target_path=self.folder
        )

    def fits(self, command: str) -> bool:
        """Whether it lives, and nothing that it has read has changed since."""
        same = (self.command, self._project, self._environment) == (command, PROJECT, _read_by_dbt())
        return same and self.invocation.process.poll() is None and digest(PROJECT) == self._digest

    def select(self, names: Sequence[str]) -> None:
        select(self.folder, names)

    def keep_parsed(self) -> None:
        """Keep what it parsed for the next, unless files changed meanwhile."""
        if digest(self._project) == self._digest:
            keep_parsed(self._digest, self.folder)

    def stop(self) -> None:
        """End it before its time."""
        process = self.invocation.process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        self.stop()
        self._folder.close()


def _read_by_dbt() -> dict[str, str]:
    """The environment without what Dagster tells itself: opening its instance sets one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")}


_ahead: list[DbtProcess] = []
"""At most one: started for the next step that wants it."""


def dbt_process(command: str) -> DbtProcess:
    """The one that waits, or a new one."""
    while _ahead:
        waiting = _ahead.pop()
        if waiting.fits(command):
            return waiting
        waiting.close()
    return DbtProcess(command)


@contextlib.contextmanager
def dbt_ahead() -> Iterator[None]:
    """`dbt build` starts now, beside whatever is done first in this context, and waits for the first step that has
    models to build. What no step took is ended with the context."""
    if _ahead:
        yield
        return
    started = DbtProcess("build")
    _ahead.append(started)
    try:
        yield
    finally:
        if started in _ahead:
            _ahead.remove(started)
            started.close()


class DbtAhead(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Of a step of SQL models: in a run with such a step dbt starts when the run does, not when the step's turn is."""

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[DbtAhead]:
        run = context.run
        if run is None or (run.asset_check_selection and not run.asset_selection):  # a run of checks alone
            yield self
            return
        with dbt_ahead():
            yield self
