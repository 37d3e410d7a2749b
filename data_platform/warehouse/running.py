"""One dbt process for a step of Dagster: started, listened to, and what it computes published table by table.
Belongs here: the process and its plan. Not here: which assets there are (assets), what dbt does inside (computing)."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg

from data_platform.core.attempts import TRANSIENT_FAULTS
from data_platform.core.contract.calendar import today_utc
from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.publication import Publication
from data_platform.core.quality.profile_store import Past, pasts
from data_platform.core.quality.validation import Verdict
from data_platform.core.settings import settings
from data_platform.warehouse.exchange import Handover, Plan, answer, handed_over, message
from data_platform.warehouse.manifest import PROJECT, lake_models, manifest
from data_platform.warehouse.nodes import between, one_line
from data_platform.warehouse.starting import DbtProcess, dbt_process
from data_platform.warehouse.verdicts import of_days

Tests = Mapping[str, Mapping[str, str]]
"""Table → name → id of the tests that are asked of it."""
UNUSABLE = 2
"""What dbt exits with when it ran nothing; 1 is that a model failed."""
LAST_WORD = "StatsLine"
"""The event after which dbt only gives memory back: 0.7 s after a day of 20,000 orders."""
ENDED: Mapping[str, Any] = {"info": {"name": "Ended", "msg": ""}, "data": {}}


def plan_for(lake: Lake, days: Mapping[type[Table], Sequence[dt.date]], tests: Tests, as_stored: bool = False) -> Plan:
    return Plan(
        root=lake.root,
        today=str(today_utc()),
        slice_rows=settings().slice_rows,
        days={table.key: [str(day) for day in of_table] for table, of_table in days.items()},
        reads={table.key: [(d.table.key, d.first, d.last) for d in inputs_of(table)] for table in days},
        tests={table.key: list(tests.get(table.key, ())) for table in days},
        as_stored=as_stored,
    )


def build_models(
    context: dg.AssetExecutionContext, lake: Lake, days: Mapping[type[Table], Sequence[dt.date]], tests: Tests
) -> Iterator[Publication]:
    """Have dbt build the models of these tables and days (none: the whole table), and publish each as soon as its tests
    are done. Yields what was published, table by table.

    Raises a transient fault of the dbt process as it is; a model that cannot be computed is a PlatformError after all
    others are published.
    """
    if not days:
        return
    started = {table.key: Publication(table) for table in days}
    errors: dict[str, Exception] = {}
    left = set(started)
    nodes = manifest(PROJECT)["nodes"]
    models = lake_models(nodes)
    chosen = [models[table.key] for table in days]
    asked = [unique_id for table in days for unique_id in tests.get(table.key, {}).values()]
    past: dict[str, Past] | None = None

    def published(handover: Handover) -> Publication | None:
        left.discard(handover.key)
        if handover.error is not None:
            if isinstance(handover.error, TRANSIENT_FAULTS):
                raise handover.error
            errors[handover.key] = handover.error
            return None
        context.log.info(f"{handover.key}: the SQL as it runs\n{handover.sql}")
        publication = started[handover.key]
        _publish(publication, handover, lake, folder, context.run.run_id)
        answer(folder, handover.key, _refused(publication, days[publication.table]))
        if handover.waits_for:
            context.log.warning(f"{handover.key}: days wait for {', '.join(handover.waits_for)}")
        return publication if publication.rows or publication.verdicts.rows or publication.failed else None

    with closing(dbt_process("build")) as dbt:
        folder = dbt.folder
        plan_for(lake, days, tests).write(folder)
        for event in _events(dbt, nodes, [*chosen, *asked], context.log):
            _note_error(errors, event)
            if past is None:  # dbt was told what to select, and works for a second before its first model is there
                past = pasts(lake, days)
                for key, of_table in past.items():
                    started[key].past = of_table
            yield from publishing_first(folder, published)
    if left and not errors:
        errors[""] = PlatformError(f"dbt computed nothing of {', '.join(sorted(left))}.", "See the step's output.")
    if errors:
        raise _all_of(errors)


def publishing_first(folder: Path, publish: Callable[[Handover], Publication | None]) -> Iterator[Publication]:
    """What comes of all that is handed over by now, or meanwhile: models wait for the publication of what they read, so
    whatever there is to publish goes before a publication is yielded, to be told of. When one cannot be published, the
    others are yielded, then its exception is raised."""
    untold: list[Publication] = []
    while (found := handed_over(folder)) or untold:
        try:
            for handover in found:
                if publication := publish(handover):
                    untold.append(publication)
        except Exception:
            yield from untold
            raise
        if not found:
            yield untold.pop(0)


def test_models(
    context: dg.AssetExecutionContext, lake: Lake, days: Mapping[type[Table], Sequence[dt.date]], tests: Tests
) -> dict[str, Sequence[Verdict]]:
    """What dbt's tests say of the rows that the lake holds, by table; nothing is computed."""
    asked = [unique_id for of_table in tests.values() for unique_id in of_table.values()]
    if not asked:
        return {}
    errors: dict[str, Exception] = {}
    found: dict[str, Sequence[Verdict]] = {}
    with closing(dbt_process("test")) as dbt:
        plan_for(lake, days, tests, as_stored=True).write(dbt.folder)
        for event in _events(dbt, manifest(PROJECT)["nodes"], asked, context.log):
            _note_error(errors, event)
            found |= {handover.key: handover.verdicts for handover in handed_over(dbt.folder)}
    if errors:
        raise _all_of(errors)
    return found


def _events(dbt: DbtProcess, nodes: Mapping[str, Any], wanted: Sequence[str], log: Any) -> Iterator[Mapping[str, Any]]:
    """Tell dbt what it is to select and yield each event of its log; the last ones after it ended."""
    dbt.select([selector(nodes[unique_id]) for unique_id in (*wanted, *tables_of_the_run(nodes, wanted))])
    said = io.StringIO()
    lines = _unprinted(dbt.invocation.stream_raw_events(), said)
    try:
        for event in lines:
            problem = event.raw_event["info"].get("level") in ("warn", "error")
            (log.warning if problem else log.debug)(f"dbt: {message(event.raw_event)}")
            yield event.raw_event
            if event.raw_event["info"].get("name") == LAST_WORD:
                break
        yield ENDED
        if dbt.invocation.process.returncode == UNUSABLE:
            raise PlatformError(f"dbt could not be started: {one_line(said.getvalue()[-500:])}", "")
        dbt.keep_parsed()
    finally:
        dbt.stop()
        for _ in lines:  # dagster-dbt's reader cannot be closed: its log is read to the end, also when dbt was faster
            pass


def _unprinted(events: Iterator[Any], said: io.StringIO) -> Iterator[Any]:
    """The events, without what dagster-dbt prints of each: standard output belongs to whoever ran a command."""
    while True:
        with contextlib.redirect_stdout(said):
            event = next(events, None)
        if event is None:
            return
        yield event


def selector(node: Mapping[str, Any]) -> str:
    return f"fqn:{'.'.join(node['fqn'])}"


def tables_of_the_run(nodes: Mapping[str, Any], ids: Sequence[str]) -> list[str]:
    """What has to be built in dbt's own memory first: seeds, models that are no lake tables, and the views over them.
    Views over lake tables alone are made before anything runs."""
    found: list[str] = []
    for unique_id in between(nodes, ids):
        node = nodes[unique_id]
        own = [read for read in node["depends_on"].get("nodes", ()) if read in found]
        if own or node["config"].get("materialized") != "view":
            found.append(unique_id)
    return found


def _publish(publication: Publication, handover: Handover, lake: Lake, folder: Path, run_id: str) -> None:
    publication.read = dict(handover.read)
    publication.failed = {day: PlatformError(why, "") for day, why in handover.failed.items()}
    for one in handover.slices:
        publication.publish(lake, [one.rows(folder)], one.days, run_id, of_days(handover.verdicts, one.days))
        (folder / one.file).unlink()


def _refused(publication: Publication, days: Sequence[dt.date]) -> list[str]:
    return [name for name in ([str(day) for day in days] or [""]) if name not in publication.rows]


def _note_error(errors: dict[str, Exception], event: Mapping[str, Any]) -> None:
    """What dbt says went wrong, where no model says it better."""
    if event["info"].get("level") == "error" and event["info"].get("name") in (
        "MainEncounteredError",
        "RunResultError",
    ):
        errors.setdefault("", PlatformError(f"dbt: {message(event)[:1000]}", "Correct the model, then run again."))


def _all_of(errors: Mapping[str, Exception]) -> Exception:
    named = {key: error for key, error in errors.items() if key} or errors
    if len(named) == 1:
        return next(iter(named.values()))
    return PlatformError(" ".join(str(error) for error in named.values()), "")
