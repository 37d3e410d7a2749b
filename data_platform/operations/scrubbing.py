"""Every live file of the lake read and held against the checksum in its name: damage is found before a reader finds it.
Not here: what a damaged file does to a reader (core/lake/damage)."""

# No postponed annotations here: Dagster reads the annotations of ops at import.

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import dagster as dg

from data_platform.core.contract.table import Table, contracts
from data_platform.core.lake.damage import damage_error, damaged_files
from data_platform.core.lake.store import Lake
from data_platform.core.orchestration.io_manager import LakeResource

CHECKSUM = re.compile(r"\.([0-9a-f]{8})\.zstd\.parquet$")


@dataclass
class Scrubbed:
    """What was read of one table."""

    table: type[Table]
    files: int = 0
    bytes: int = 0
    unsummed: int = 0
    """Files written before there were checksums: of these it is known only that they can be decoded."""
    damaged: tuple[str, ...] = ()


def scrub(
    lake: Lake, tables: Iterable[type[Table]], follow: Callable[[Scrubbed], None] | None = None
) -> list[Scrubbed]:
    """Read every live file of the tables; those that do not exist are left out."""
    done = []
    for table in tables:
        if lake.exists(table):
            done.append(_scrubbed(lake, table))
            if follow:
                follow(done[-1])
    return done


def _scrubbed(lake: Lake, table: type[Table]) -> Scrubbed:
    snapshot = lake.snapshot(table)
    found = Scrubbed(table)
    unsummed, damaged = [], []
    store = lake.files(table.key)
    for path, size in snapshot.files.select("path", "size_bytes").sort("path").iter_rows():
        found.files += 1
        found.bytes += size
        if not (named := CHECKSUM.search(path)):
            unsummed.append(path)
            continue
        try:
            sound = zlib.crc32(store.read(path)) == int(named[1], 16)
        except FileNotFoundError:
            sound = False
        if not sound:
            damaged.append(path)
    found.unsummed = len(unsummed)
    # Compaction and vacuum go on meanwhile: a file that is no longer live may be gone.
    damaged += damaged_files(snapshot, unsummed)
    live = set(lake.snapshot(table).files["path"]) if damaged else set()
    found.damaged = tuple(path for path in damaged if path in live)
    return found


@dg.op(description="Reads every file of the lake and compares it with its checksum.")
def read_and_compare(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    done = scrub(lake.lake(), contracts().values())
    read = sum(one.bytes for one in done)
    context.log.info(f"{len(done)} tables, {sum(one.files for one in done)} files, {read / 1e6:.1f} MB read")
    context.add_output_metadata({"files": sum(one.files for one in done), "bytes": read})
    if damaged := [one for one in done if one.damaged]:
        raise dg.Failure(" ".join(str(damage_error(one.table, one.damaged)) for one in damaged), allow_retries=False)


@dg.job(description="Every file of the lake compared with its checksum.")
def scrub_lake() -> None:
    read_and_compare()
