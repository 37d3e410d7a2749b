"""The command line: which benchmarks to run, at what scale, and where the results go.
Not here: any measurement."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    capture,
    collector,
    commerce,
    dashboard_pages,
    dlt_load,
    faults,
    feast_join,
    health,
    history,
    kafka,
    latency,
    live,
    metering,
    one_by_one,
    online,
    pipeline,
    point_in_time,
    publication,
    research,
    research_graph,
    search,
    startup,
    table,
    usage,
    validation,
)
from benchmarks.bench import Bench
from benchmarks.table import Row

BENCHMARKS: dict[str, Callable[[Bench], Iterable[Row]]] = {
    "pipeline": pipeline.pipeline,
    "pandas": one_by_one.pandas_method,
    "memory": pipeline.memory,
    "flat": history.flat,
    "backfill": history.backfill,
    "load": startup.load,
    "storage": pipeline.storage,
    "simulate": startup.simulation,
    "health": health.health,
    "live": live.live,
    "dashboards": dashboard_pages.dashboard_pages,
    "faults": faults.faults,
    "validation": validation.validation,
    "point_in_time": point_in_time.point_in_time,
    "feast": feast_join.feast,
    "online": online.online,
    "collector": collector.collector,
    "publication": publication.publication,
    "commerce": commerce.commerce,
    "kafka": kafka.kafka,
    "cdc": capture.cdc,
    "latency": latency.latency,
    "research": research.research,
    "research_graph": research_graph.research_graph,
    "search": search.search,
    "usage": usage.usage,
    "metering": metering.metering,
    "dlt": dlt_load.dlt,
}
CORES = 2
"""The goals are for two cores; on a larger machine both sides get two."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data; below 1 for trying out")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "data-platform-benchmarks")
    parser.add_argument(
        "--write", action="store_true", help="write results of a partial or scaled run to README.md too"
    )
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"there is no benchmark called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if not 0 < chosen.scale <= 10:
        parser.error("--scale must lie between 0 and 10")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

    console = Console()
    names = [name for name in BENCHMARKS if not chosen.names or name in chosen.names]
    rows: list[Row] = []
    with Bench(chosen.scale, chosen.folder, console) as bench:
        for name in names:
            for row in BENCHMARKS[name](bench):
                rows.append(row)
                console.print(table.line(row))
    console.print(table.as_rich(rows, chosen.scale))
    if chosen.write or (chosen.scale == 1 and len(names) == len(BENCHMARKS)):
        table.write_readme(rows, chosen.scale)
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
