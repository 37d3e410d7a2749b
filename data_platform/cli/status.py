"""Commands that say how the tables are and why: status, why. Not here: finding it out (observability/status), rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.cli.looking import tell_unread_files
from data_platform.cli.systems import tell_systems
from data_platform.core.errors import PlatformError, counted, did_you_mean
from data_platform.core.settings import settings
from data_platform.core.terminal import AsJson, busy, contract, out, plain_rows, print_json

if TYPE_CHECKING:
    import polars as pl

    from data_platform.core.contract.table import Table
    from data_platform.core.lake.store import Lake
    from data_platform.observability.status import TableStatus

MOST_DAYS, MOST_KEYS, MOST_RUNS, MOST_NAMES = 5, 5, 5, 3
FRESHNESS_STYLE = {"fresh": "green", "stale": "yellow", "critical": "red", "not built": "dim"}


def status(
    key: Annotated[str | None, typer.Argument(metavar="TABLE", help="Tell all of one table.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Tables that are not built too.")] = False,
    as_json: AsJson = False,
) -> None:
    """How every table is: rows, newest day, freshness, checks; or everything about one table."""
    from data_platform.core.discovery import landing_sources
    from data_platform.core.instance.materialisations import of_home
    from data_platform.core.lake.store import configured_lake
    from data_platform.observability.status import all_status
    from data_platform.operations.declared import know_lineage

    with busy("reading the lineage"):
        know_lineage()
    wanted = contract(key) if key else None
    lake = configured_lake()
    with busy("reading days, checks and freshness of every table"), of_home() as history:
        statuses = all_status(lake, history, landing_sources(), dt.datetime.now(dt.UTC))
    if wanted:
        _tell_table(lake, wanted, {one.key: one for one in statuses}, as_json)
    elif as_json:
        print_json([_as_json(one) for one in statuses])
    else:
        _tell_all(lake, statuses, everything)


def _as_json(one: TableStatus) -> dict[str, Any]:
    return vars(one) | {"age": one.age.total_seconds() if one.age is not None else None}


# ------------------------------------------------------------------------------------------- all tables
def _tell_all(lake: Lake, statuses: Sequence[TableStatus], everything: bool) -> None:
    shown = [one for one in statuses if everything or (one.built and one.connected)]
    hidden = [one for one in statuses if one not in shown]
    if shown:
        grid = Grid("table", "rows", "days", "newest", "freshness", "checks", "owner", box=None, pad_edge=False)
        grid.columns[0].no_wrap, grid.columns[0].min_width = True, max(len(one.key) for one in shown)
        grid.columns[1].justify = grid.columns[2].justify = "right"
        for one in shown:
            grid.add_row(
                one.key,
                f"{one.rows:,}",
                str(one.partitions or ""),
                one.newest or "",
                _freshness(one),
                _checks(one),
                one.owner.removeprefix("team:"),
            )
        out.print(grid)
    if hidden:
        silent = sorted({one.owner.removeprefix("team:") for one in hidden if not one.connected})
        why = f", those of {_all_of(silent)} because none of their sources ever sent anything" if silent else ""
        out.print(
            f"{counted(len(hidden), 'table')} not built{why}: [bold]data-platform status --all[/bold] lists them."
        )
    for one in shown:
        _tell_failing(one)
    _tell_why_not_fresh(shown)
    _tell_withdrawn(lake)
    tell_systems()
    tell_unread_files()
    out.print(Text(f"Home {settings().home}. `data-platform status TABLE` tells more of a table.", "dim"))


def _all_of(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _freshness(one: TableStatus) -> Text:
    if one.ended:
        return Text(f"history ends {one.ended}", "dim")
    state = one.freshness.replace("_", " ")
    late = one.freshness in ("stale", "critical")
    return Text(f"{state}{_age(one.age)}" if late else state, FRESHNESS_STYLE.get(state, ""))


def _age(age: dt.timedelta | None) -> str:
    if age is None:
        return ""
    hours = age.total_seconds() / 3600
    return f" {hours:.0f} h" if hours < 48 else f" {hours / 24:.0f} days"


def _checks(one: TableStatus) -> Text:
    parts = [Text("✗ " + _some(one.failed_checks), "red")] if one.failed_checks else []
    parts += [Text("! " + _some(one.warned_checks), "yellow")] if one.warned_checks else []
    return Text(" ").join(parts) if parts else Text(f"✓ {one.checks}" if one.checks else "", "green")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _tell_failing(one: TableStatus) -> None:
    """One line per table and kind: what it means, and the command that tells more."""
    for sign, style, names, means in (
        ("✗", "red", one.failed_checks, "days that break it are not published"),
        ("!", "yellow", one.warned_checks, "published with a warning"),
    ):
        if names:
            more = f"data-platform why {names[0]} {one.key}"
            out.print(Text(f"{sign} ", style) + Text(f"{one.key}: {_some(names)} ({means}): ") + Text(more, "bold"))


def _tell_why_not_fresh(statuses: Sequence[TableStatus]) -> None:
    """One line per reason, with the tables it holds for."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in statuses:
        if one.freshness in ("critical", "stale") and not one.ended:
            reasons.setdefault((one.freshness, one.reason), []).append(one.key)
    for (state, reason), keys in sorted(reasons.items()):
        out.print(Text(f"{state}: ", FRESHNESS_STYLE[state]) + Text(f"{reason} ({', '.join(keys)})"))


def _tell_withdrawn(lake: Lake) -> None:
    from data_platform.core.contract.received import IngestionLedger

    files = lake.scan(IngestionLedger).select("withdrawn_lines").drop_nulls().collect()
    if len(files):
        lines = counted(int(files["withdrawn_lines"].sum()), "line")
        text = f"{counted(len(files), 'file')} with {lines} withdrawn: [bold]data-platform withdraw[/bold] lists them."
        out.print(text)


# -------------------------------------------------------------------------------------------- one table
def _tell_table(lake: Lake, table: type[Table], statuses: dict[str, TableStatus], as_json: bool) -> None:
    from data_platform.core.contract.lineage import inputs_of
    from data_platform.observability.status import rejected_of, verdicts_of

    one = statuses[table.key]
    verdicts = verdicts_of(lake, table)
    rejected = rejected_of(lake, table)
    upstream = [days.table.key for days in inputs_of(table)]
    downstream = [key for key in statuses if table in [days.table for days in inputs_of(contract(key))]]
    runs = _last_runs(verdicts)
    if as_json:
        details = {"checks": _checks_as_json(verdicts), "rejected": rejected, "last_runs": runs}
        lineage = {"description": table.table_description(), "upstream": upstream, "downstream": downstream}
        print_json({"status": _as_json(one), **lineage, **details})
        return
    out.print(Text(table.key, "bold") + Text(f"  {table.table_description()}"))
    grid = Grid(box=None, pad_edge=False, show_header=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    days = f", {counted(one.partitions, 'day')}, newest {one.newest}" if one.newest else ""
    rows: list[tuple[str, str | Text]] = [
        ("owner", one.owner.removeprefix("team:")),
        ("one row per", ", ".join(table.primary_key)),
        ("holds", f"{counted(one.rows, 'row')}{days}" if one.built or one.rows else "not built"),
    ]
    if one.freshness:
        rows.append(("freshness", Text.assemble(_freshness(one), f". {one.reason}" if one.reason else "")))
    rows.append(("out of date", _stale(one)))
    rows += [("computed from", text) for text in _neighbours(upstream, statuses)]
    rows += [("used by", text) for text in _neighbours(downstream, statuses)]
    for key, count in rejected.items():
        more = f": data-platform rejected show {table.key}" if count else ""
        rows.append(("rejected", f"{counted(count, 'row')} in {key}{more}"))
    rows += [("last runs", f"{run['at']}  {run['run_id']}  {counted(run['days'], 'day')} judged") for run in runs]
    for name, value in rows:
        grid.add_row(name, value)
    out.print(grid)
    _tell_checks(table, verdicts)


def _stale(one: TableStatus) -> str:
    if not one.stale:
        return "nothing"
    days = f"{one.stale[0]} to {one.stale[-1]} ({counted(len(one.stale), 'day')})" if any(one.stale) else "the table"
    return f"{days}: data-platform plan {one.key}"


def _neighbours(keys: Iterable[str], statuses: dict[str, TableStatus]) -> Iterator[str]:
    for key in keys:
        one = statuses[key]
        behind = f"{counted(len(one.stale), 'day')} out of date" if any(one.stale) else "out of date"
        state = behind if one.stale else "" if one.built else "not built"
        yield f"{key}{f' ({state})' if state else ''}"


def _last_runs(verdicts: pl.DataFrame) -> list[dict[str, Any]]:
    """The newest runs that judged days as they stand now."""
    import polars as pl

    runs = verdicts.group_by("run_id").agg(at=pl.col("recorded_at").max(), days=pl.col("asset_partition").n_unique())
    newest = runs.sort("at", descending=True).head(MOST_RUNS)
    return [row | {"at": f"{row['at']:%Y-%m-%d %H:%M}"} for row in newest.iter_rows(named=True)]


def _tell_checks(table: type[Table], verdicts: pl.DataFrame) -> None:
    if verdicts.is_empty():
        out.print("No check has judged it yet.")
        return
    sentences = _sentences(table)
    grid = Grid("check", "verdict", "what it says", box=None, pad_edge=False)
    grid.columns[0].no_wrap = True
    failing = []
    for (name,), rows in verdicts.group_by("reported_as", maintain_order=True):
        bad = rows.filter("problem")
        if len(bad):
            failing.append(str(name))
            blocks = "error" in bad["severity"].to_list()
            days = _days(bad["asset_partition"].to_list())
            verdict = Text(f"{'✗' if blocks else '!'} {days}".rstrip(), "red" if blocks else "yellow")
        else:
            verdict = Text(
                f"✓ {counted(rows['asset_partition'].n_unique(), 'day')}" if table.partition else "✓", "green"
            )
        grid.add_row(str(name), verdict, sentences.get(str(name), ""))
    out.print()
    out.print(grid)
    for name in failing:
        keys = _keys(table, verdicts.filter("problem", reported_as=name))
        sample = f"{'; '.join(keys)}: " if keys else ""
        out.print(Text(f"{name}: {sample}") + Text(f"data-platform why {name} {table.key}", "bold"))


def _checks_as_json(verdicts: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    by_check = verdicts.group_by("reported_as", maintain_order=True).agg(
        failing_days=pl.col("asset_partition").filter("problem").unique().sort(),
        judged_days=pl.col("asset_partition").n_unique(),
        last=pl.col("recorded_at").max(),
    )
    return plain_rows(by_check.rename({"reported_as": "check"}).sort("check"))


def _sentences(table: type[Table]) -> dict[str, str]:
    from data_platform.core.quality.check_groups import check_groups

    rules = {name: sentence for name, sentence, _ in table.rule_texts()}
    return rules | {group.name: group.sentence for group in check_groups(table)}


def _days(days: Iterable[str]) -> str:
    """The newest ones, and how many more."""
    found = sorted({day for day in days if day}, reverse=True)
    more = f" and {counted(len(found) - MOST_DAYS, 'more day')}" if len(found) > MOST_DAYS else ""
    return ", ".join(found[:MOST_DAYS]) + more


def _keys(table: type[Table], rows: pl.DataFrame) -> list[str]:
    """Keys of failing rows, newest day first; what identifies a person by itself is left out."""
    from data_platform.observability.samples import key_text, keys_of

    samples = rows.sort("asset_partition", descending=True)["sample"].drop_nulls()
    return list(dict.fromkeys(key_text(table, key) for key in keys_of(samples)))[:MOST_KEYS]


# --------------------------------------------------------------------------------------------- one check
def why(
    check: Annotated[str, typer.Argument(metavar="CHECK", help="A check or rule, as `status` names it.")],
    key: Annotated[str | None, typer.Argument(metavar="TABLE", help="Where several tables have it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Why a check fails: what it says, which days and rows break it, since when, what to do."""
    from data_platform.core.contract.table import contracts
    from data_platform.core.discovery import know_contracts
    from data_platform.core.lake.store import configured_lake
    from data_platform.observability.status import verdicts_of

    know_contracts()
    tables = [contract(key)] if key else list(contracts().values())
    lake = configured_lake()
    with busy("reading verdicts"):
        judging = _judging(lake, check, [table.key for table in tables])
    if not judging:
        names = {name for table in tables for name in _sentences(table)}
        if check in names:
            raise PlatformError(f"{check} has judged nothing yet.", "`data-platform build` computes and judges.")
        more = f"`data-platform status {tables[0].key if key else 'TABLE'}` lists the checks of a table."
        raise PlatformError(f"There is no check {check!r}.", f"{did_you_mean(check, names)}{more}")
    found = [(table, _of_check(verdicts_of(lake, table), check)) for table in tables if table.key in judging]
    bad = [(table, rows) for table, rows in found if rows["problem"].any()]
    if as_json:
        print_json([_why_as_json(table, check, rows) for table, rows in found])
        return
    for table, rows in bad or found:
        _tell_why(table, check, rows)
    if bad and len(found) > len(bad):
        out.print(Text(f"It holds on {counted(len(found) - len(bad), 'other table')}.", "dim"))


def _judging(lake: Lake, check: str, keys: Sequence[str]) -> set[str]:
    import polars as pl

    from data_platform.core.quality.verdict_ledger import CheckResults

    named = (pl.col("reported_as") == check) | (pl.col("check_name") == check)
    return set(lake.scan(CheckResults).filter(named, pl.col("asset").is_in(keys)).select("asset").collect()["asset"])


def _of_check(verdicts: pl.DataFrame, check: str) -> pl.DataFrame:
    import polars as pl

    return verdicts.filter((pl.col("reported_as") == check) | (pl.col("check_name") == check))


def _tell_why(table: type[Table], check: str, rows: pl.DataFrame) -> None:
    out.print(Text(f"{table.key}: {check}  ", "bold") + Text(_sentences(table).get(check, "A test written in SQL.")))
    bad = rows.filter("problem").sort("asset_partition", descending=True)
    if bad.is_empty():
        judged = _days(rows["asset_partition"].to_list())
        out.print(Text("✓ ", "green") + Text(f"It holds{f' on {judged}' if judged else ''}."))
        return
    blocks = "error" in bad["severity"].to_list()
    grid = Grid("day", "rule", "broken by", "since", "measured", box=None, pad_edge=False)
    for row in bad.head(MOST_DAYS * 2).iter_rows(named=True):
        grid.add_row(
            row["asset_partition"] or "whole",
            row["check_name"],
            "crashed" if row["status"] == "errored" else f"{row['failed_rows']:,} of {counted(row['rows'], 'row')}",
            f"{row['since']:%Y-%m-%d %H:%M}" if row["since"] else "",
            _measured(row),
        )
    out.print(grid)
    if len(bad) > MOST_DAYS * 2:
        out.print(f"and {counted(len(bad) - MOST_DAYS * 2, 'more verdict')}")
    if keys := _keys(table, bad):
        out.print(Text(f"Rows: {'; '.join(keys)}"))
    out.print(Text(_remedy(table, bad, blocks)))


def _measured(row: dict[str, Any]) -> str:
    text = f"{row['value']:g}" if row["value"] is not None else ""
    text += f", bound {row['threshold']:g}" if row["value"] is not None and row["threshold"] is not None else ""
    return ". ".join(filter(None, (text, row["message"])))


def _remedy(table: type[Table], bad: pl.DataFrame, blocks: bool) -> str:
    if "errored" in bad["status"].to_list():
        return "The check itself crashed, which says nothing of the data: its run in Dagster says how."
    if blocks:
        return (
            "These days keep what was published before. Correct the rows upstream or the rule in the contract, then: "
            f"data-platform build {table.key}"
        )
    return (
        "A warning: the days are published. If the data is right nothing is to be done, and the warning goes with "
        f"newer days; if not, look upstream: data-platform status {table.key}"
    )


def _why_as_json(table: type[Table], check: str, rows: pl.DataFrame) -> dict[str, Any]:
    shown = ["asset_partition", "check_name", "status", "severity", "rows", "failed_rows", "value", "threshold"]
    bad = rows.filter("problem").select(*shown, "message", "since", "run_id")
    keys = _keys(table, rows.filter("problem"))
    return {"table": table.key, "check": _sentences(table).get(check), "failing": plain_rows(bad), "rows": keys}
