"""Tables published to PostgreSQL: how fast they get there, how long readers wait meanwhile, how fast dashboards are
answered from there and from the lake. Not here: tables, server and questions (publication_server, dashboards)."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.table import Row

ROWS, ORDERS_A_DAY, ASKED = 10_000_000, 20_000, 200
LEAST_ROWS_A_SECOND = 200_000
MOST_MILLISECONDS = {"postgresql": 50, "lake": 100}


def publication(bench: Bench) -> Iterator[Row]:
    days = max(35, bench.scaled(ROWS) // ORDERS_A_DAY)
    title = f"publish, {ORDERS_A_DAY:,} orders a day"
    measured = bench.run(
        title, "publication", bench.fresh_home(), days=days, orders_a_day=ORDERS_A_DAY, asked=bench.scaled(ASKED),
        folder=str(bench.fresh_folder()),
    )  # fmt: skip
    done = measured.result
    first = done["first"]
    rate = first["rows"] / first["seconds"]
    yield Row(
        f"{title}: first publication of {first['rows']:,} rows of fct_orders, {days} days",
        f"{rate:,.0f} rows/s",
        reference=f"{first['seconds']:.1f} s",
        goal=f"≥ {LEAST_ROWS_A_SECOND:,} rows/s",
        met=rate >= LEAST_ROWS_A_SECOND,
    )
    again = done["corrected"]
    yield Row(
        f"… a corrected day: its month again, {again['rows']:,} rows; readers locked out {again['swap'] * 1000:.0f} ms",
        f"{again['seconds']:.1f} s",
    )
    yield Row("… nothing changed", f"{done['unchanged']:.2f} s")
    readers = done["readers"]
    yield Row(
        f"… readers meanwhile, {readers['reads']:,} reads of a day: slowest (p99 {readers['p99']:.0f} ms)",
        f"{readers['slowest']:.0f} ms",
    )
    yield Row(f"… readers' errors and gaps, of {readers['reads']:,} reads", f"{readers['faults']}", goal="0",
              met=readers["faults"] == 0)  # fmt: skip
    for place, most in MOST_MILLISECONDS.items():
        questions = done["dashboards"][place]
        worst = max(questions, key=lambda name: questions[name]["p95"])
        p95 = questions[worst]["p95"]
        yield Row(
            f"dashboards from {place}, a year of orders: p95 of the slowest of {len(questions)} questions ({worst})",
            f"{p95:.1f} ms",
            goal=f"< {most} ms",
            met=p95 < most,
        )
        for name, found in questions.items():
            yield Row(f"… {name}: p50 {found['p50']:.1f} ms", f"{found['p95']:.1f} ms")
