"""A lake that is not what this home knew: refused before anything is written, or taken because a person says so.
Not here: what is known (core/lake/record), damaged files (scrubbing)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from data_platform.core.contract.lineage import inputs_of
from data_platform.core.contract.table import Table, contracts
from data_platform.core.durable import move_durably, write_durably
from data_platform.core.errors import PlatformError
from data_platform.core.lake.record import LakeChanged
from data_platform.core.lake.store import Lake, standing
from data_platform.core.orchestration.checks import asset_key
from data_platform.sources.growth import Followed
from data_platform.sources.ingestion import landing_of, tables_of
from data_platform.sources.landing import Landing, has_unfinished_plan
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.put_away import TakenIn, put_away_files


@dataclass(frozen=True)
class Accepted:
    """What was taken as it is."""

    changed: tuple[str, ...]
    """What had been known otherwise, in a sentence each."""
    put_back: int
    """Files in landing once more: the lake does not know them any longer."""


def require_unchanged(lake: Lake) -> None:
    """Raises LakeChanged unless this is the lake that this home has written, with every commit of every table."""
    if lake.record is None:
        return
    lake.require_same()
    for table in _recorded(lake):
        lake.exists(table)
        lake.version(table)


def accept(lake: Lake, instance: dg.DagsterInstance, sources: Sequence[LandingSource], landing: Path) -> Accepted:
    """Take the lake as it is, a restored backup for example, and make everything follow from it: files that it does not
    know go back to landing, and where a table had changed all days count as out of date.

    Raises PlatformError, and changes nothing, when raw tables and ledger are of different moments.
    """
    assert lake.record is not None
    bare = Lake(lake.root, lake.options)
    changed = tuple(_changes(lake))
    for source in sources:
        _require_one_moment(bare, source, landing)
    put_back = sum(_put_back(landing_of(source, bare, landing)) for source in sources)
    if changed:
        _everything_is_new(bare, instance, sources)
    lake.record.forget()
    lake.require_same()
    for table in contracts().values():
        if bare.exists(table):
            lake.record.note(table.key, standing(bare.open(table)))
    return Accepted(changed, put_back)


def _recorded(lake: Lake) -> list[type[Table]]:
    known = contracts()
    return [known[key] for key in (lake.record.keys() if lake.record else ()) if key in known]


def _changes(lake: Lake) -> Iterator[str]:
    try:
        lake.require_same()
    except LakeChanged as error:
        yield error.problem
    for table in _recorded(lake):
        try:
            lake.exists(table)
            lake.version(table)
        except LakeChanged as error:
            yield error.problem


def _require_one_moment(lake: Lake, source: LandingSource, landing: Path) -> None:
    """A copy made between the commits of a batch would take that batch for done, or do half of it twice."""
    if has_unfinished_plan(landing / source.name):
        return
    stands = {table.key: lake.position(table, source.name) or 0 for table in tables_of([source])}
    if len(set(stands.values())) > 1:
        positions = ", ".join(f"{key} at batch {batch}" for key, batch in stands.items())
        raise PlatformError(
            f"This lake holds half a batch of {source.name}: {positions}.",
            "Restore a copy in which they agree, or the home's landing folder of the same moment with its _plans/.",
        )


def _put_back(landing: Landing) -> int:
    """Files of `_ingested/` whose content the ledger does not know, under the names they came with; of a file that grew
    after it was put away, what the ledger does not know of it."""
    taken_in = TakenIn.of(landing.lake, landing.source.name)
    followed = Followed(landing.folder)
    moved = 0
    for path in put_away_files(landing.folder):
        _batch, digest, name = path.name.split("-", 2)
        target = landing.folder / name
        target = target if not target.exists() else landing.folder / f"{digest}-{name}"
        with path.open("rb") as file:
            stored = taken_in.stored(file, path.name)
            if stored is None:
                move_durably(path, target)
                moved += 1
                continue
            start, end = followed.rest(path, file, stored)
            if end > start:
                file.seek(start)
                write_durably(target, file.read(end - start))
                moved += 1
    return moved


def _everything_is_new(lake: Lake, instance: dg.DagsterInstance, sources: Sequence[LandingSource]) -> None:
    """Tell Dagster that every day of what is received was written just now: all else follows."""
    computed = [table for table in contracts().values() if table.partition and inputs_of(table)]
    received = [table for table in tables_of(sources) if table.partition]
    days = {day for table in [*computed, *received] for day in lake.partitions(table)["partition"]}
    for table in received:
        for day in sorted(days):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(table), partition=day))
