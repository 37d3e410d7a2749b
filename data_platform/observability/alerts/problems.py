"""What is wrong right now, as a list that does not depend on what was said before.
Belongs here: reading verdicts, runs, freshness, landing and service levels. Not here: who is told (episodes, delivery).

The same fault found again has the same key, so a thousand retries of a broken asset are one problem."""

from __future__ import annotations

import datetime as dt
import functools
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import dagster as dg
import polars as pl

from data_platform.core.contract.calendar import midnight
from data_platform.core.contract.lineage import upstream_of
from data_platform.core.contract.notices import Notice
from data_platform.core.contract.table import Severity, Table, contracts
from data_platform.core.discovery import notices
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.core.quality import verdict_ledger
from data_platform.core.quality.validation import Status
from data_platform.core.quality.verdict_ledger import CheckResults
from data_platform.core.settings import settings
from data_platform.observability.alerts.runs import FailedRun, failed_runs
from data_platform.observability.contracts import FRESH_RULE, Freshness, FreshnessState, ServiceLevels
from data_platform.observability.samples import key_text, keys_of
from data_platform.sources.ingestion import INGEST_LANDING
from data_platform.sources.landing_files import waiting_since
from data_platform.sources.landing_source import LandingSource
from data_platform.sources.schema_drift import INCOMING_FIELDS, in_words
from data_platform.sources.streams import TOLERATED
from data_platform.sources.worker_state import SectionState, gone_since, section_states

PLATFORM = "team:data-platform"
LOOK_BACK = dt.timedelta(days=7)
"""How far back verdicts and runs are read, unless an episode is open for longer."""
OLD_DATA = dt.timedelta(hours=2)
BACKLOG_WAIT = dt.timedelta(minutes=15)
BACKLOG_FILES = 1000
FRESHNESS_UNSEEN = dt.timedelta(minutes=30)
"""Freshness is looked at every few minutes; after this long nobody looks any more."""
MOST_KEYS = 3
STORAGE_GROWTH = "storage_growth"
INGESTION_FAILED = f"run_failed:{INGEST_LANDING}"


class Level(IntEnum):
    """How bad a problem is: `critical` wakes someone, `warning` is for today, `info` is for reading."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now. Its text may quote data, so it is cleaned where it is shown (messages)."""

    key: str
    """`<kind>:<what>`, the same each time the same thing is found."""
    level: Level
    title: str
    what: str
    owner: str
    since: dt.datetime
    asset: str | None = None
    failed_rows: int = 0
    sample: tuple[str, ...] = ()
    run_id: str | None = None
    explained_by: tuple[str, ...] = ()
    """Keys of problems that this one follows from: while one of them is open, nobody is told of this one."""

    @property
    def kind(self) -> str:
        return self.key.split(":")[0]


@dataclass(frozen=True)
class Findings:
    """What one look found, and the kinds of problems it could not look for (of these nothing is known now)."""

    problems: tuple[Problem, ...]
    unseen: frozenset[str] = frozenset()


FIRST_STEPS = {
    "check": ("Find the rows by their keys in the asset's inputs.", "alert-a-check-failed"),
    "run_failed": ("Open the run in Dagster and read the message of the failed step.", "alert-a-run-failed"),
    "freshness": ("Go upstream until a table is fresh; the fault is between the two.", "alert-data-is-old"),
    "backlog": ("See whether the sensor landing_files is on and ingestion runs succeed.", "alert-files-are-waiting"),
    "system": (
        "Read what the worker says of it; is the system up, are its credentials right?",
        "alert-a-system-stopped",
    ),
    "worker": ("Start `data-platform worker`; why it ended say its log and the kernel's.", "alert-a-worker-is-gone"),
    STORAGE_GROWTH: ("Compare the sizes of the tables, then vacuum.", "alert-storage-grows"),
    "watch": ("Read the log of the sensor's tick: alerts cannot see this kind.", "alert-alerts-are-blind"),
}
"""Kind → what to do first, and the heading of docs/runbook.md that says the rest."""
FIRST_STEPS_BY_RULE = {
    INCOMING_FIELDS: (
        "Ask the sender whether it is meant; if so, map or declare the new field. Nothing is lost.",
        "alert-incoming-fields-changed",
    ),
}
"""Checks whose failing says nothing of single rows, so that there are no keys to look for."""


def first_step(problem: Problem) -> tuple[str, str] | None:
    """What to do first, and the heading of the runbook; None for kinds that alerts do not know."""
    rule = problem.key.rpartition(":")[2] if problem.kind == "check" else ""
    declared = next(((n.first_step, n.heading) for n in notices() if n.kind == problem.kind), None)
    return FIRST_STEPS_BY_RULE.get(rule) or FIRST_STEPS.get(problem.kind) or declared


def look(
    lake: Lake,
    instance: dg.DagsterInstance,
    sources: Sequence[LandingSource],
    now: dt.datetime,
    open_since: dt.datetime | None = None,
) -> Findings:
    """Everything that is wrong at `now`. Pass since when the oldest open episode lasts, so that it is still seen.

    What cannot be looked at is a problem too, and is named in `unseen`: not seeing a fault does not mend it. Raises
    PlatformError for a notice of a domain that would take the place of one of these.
    """
    first = min(now - LOOK_BACK, open_since or now)
    searches: dict[str, Callable[[], list[Problem]]] = {
        "check": lambda: failed_checks(lake, first),
        "run_failed": lambda: [_of_run(run, found) for run in failed_runs(instance, first)],
        "freshness": lambda: stale_tables(lake, now, first),
        "backlog": lambda: backlogs(sources, now),
        "system": lambda: stopped_systems(section_states(settings().worker), now),
        "worker": lambda: gone_workers(gone_since(settings().worker), now),
        STORAGE_GROWTH: lambda: storage_growth(lake, now),
    }
    for notice in notices():
        if notice.kind in searches:
            raise PlatformError(f"The notice {notice.kind} has the name of a kind of ours.", "Give it another kind.")
        searches[notice.kind] = functools.partial(noticed, notice, lake, now)
    found: list[Problem] = []
    unseen: set[str] = set()
    for kind, search in searches.items():
        try:
            found += search()
        except Exception as error:  # one thing that cannot be read must not silence the others
            unseen.add(kind)
            what = f"{type(error).__name__} while looking for problems of the kind {kind}."
            found.append(Problem(f"watch:{kind}", Level.WARNING, f"alerts cannot see {kind}", what, PLATFORM, now))
    return Findings(tuple(found), frozenset(unseen))


# ------------------------------------------------------------------------------------------------ checks
def failed_checks(lake: Lake, first: dt.datetime) -> list[Problem]:
    """One problem per asset and rule whose newest verdict, on any of the days that count, is failed or errored."""
    key = ("asset", "asset_partition", "check_name")
    # Freshness is told by itself, with what is behind it.
    failing = verdict_ledger.failing(lake, first.date()).filter(pl.col("check_name") != FRESH_RULE).collect()
    known = contracts()
    failing = failing.filter(pl.col("asset").is_in(list(known)))
    if failing.is_empty():
        return []
    history = lake.scan(CheckResults, first.date()).filter(pl.col("asset").is_in(failing["asset"].unique().to_list()))
    failing = failing.join(verdict_ledger.broken_since(history, key), on=key, how="left").sort("recorded_at")
    return [
        _of_verdicts(known[str(asset)], str(rule), rows)
        for (asset, rule), rows in failing.group_by("asset", "check_name", maintain_order=True)
    ]


def _of_verdicts(table: type[Table], rule: str, rows: pl.DataFrame) -> Problem:
    """`rows`: the failing verdicts of one rule, one per day, oldest first."""
    newest = rows.row(-1, named=True)
    crashed = newest["status"] == Status.ERRORED.value
    blocks = Severity.ERROR.value in rows["severity"].to_list() and not rule.endswith("_anomaly")
    days = sorted(filter(None, rows["asset_partition"]), reverse=True)
    on_days = f" on {', '.join(days[:MOST_KEYS])}" if days else ""
    on_days += f" and {len(days) - MOST_KEYS} more days" if len(days) > MOST_KEYS else ""
    failed = int(rows["failed_rows"].sum())
    if crashed:
        what = f"The check {rule} crashed{on_days}; that says nothing of the data."
    elif rule == INCOMING_FIELDS and newest["message"]:
        what = f"Incoming lines differ from those of the days before: {'; '.join(in_words(newest['message']))}."
    else:
        what = f"{rule} fails{on_days}" + (f" for {failed:,} of {int(rows['rows'].sum()):,} rows." if failed else ".")
        if newest["value"] is not None:
            what += f" Measured {newest['value']:g}."
            what += f" Bound {newest['threshold']:g}." if newest["threshold"] is not None else ""
            what += f" {newest['message']}" if newest["message"] else ""
    return Problem(
        key=f"check:{table.key}:{rule}",
        level=Level.CRITICAL if blocks else Level.WARNING,
        title=f"{table.key}: {rule} {'crashed' if crashed else 'failed'}",
        what=what,
        owner=table.owner,
        since=rows["since"].min(),  # type: ignore[arg-type]
        asset=table.key,
        failed_rows=failed,
        sample=tuple(dict.fromkeys(key_text(table, key) for key in keys_of(rows["sample"].drop_nulls())))[:MOST_KEYS],
        run_id=newest["run_id"],
    )


# -------------------------------------------------------------------------------------------------- runs
def _of_run(run: FailedRun, found: Sequence[Problem]) -> Problem:
    """Told as a failed run, unless checks that failed in that very run say why."""
    table = next((t for key, t in contracts().items() if run.step in _step_names(key)), None)
    name = table.key if table else run.subject
    return Problem(
        key=f"run_failed:{name}",
        level=Level.CRITICAL,
        title=f"{name}: run {run.ended}",
        what=f"Run {run.run_id[:8]} of {run.job} {run.ended}" + (f" ({run.error})." if run.error else "."),
        owner=table.owner if table else _owner_of_step(run.step or ""),
        since=run.at,
        asset=table.key if table else None,
        run_id=run.run_id,
        explained_by=tuple(p.key for p in found if p.kind == "check" and p.run_id == run.run_id),
    )


def _step_names(key: str) -> tuple[str, str]:
    """What the step that computes a table is called, by itself or with others after the first of them."""
    return key.replace("/", "__"), key.replace("/", "_")


def _owner_of_step(step: str) -> str:
    """Of the tables of a group that are computed together, as `commerce_models` are."""
    owners = (table.owner for table in contracts().values() if step.startswith(f"{table.table_group()}_"))
    return next(owners, PLATFORM)


# --------------------------------------------------------------------------------------------- freshness
def stale_tables(lake: Lake, now: dt.datetime, first: dt.datetime) -> list[Problem]:
    """One problem per table whose newest state is stale or critical; a table behind a stale one follows from it."""
    history = lake.scan(Freshness, first.date())
    newest = history.sort("recorded_at").unique("asset", keep="last").collect()
    if newest.is_empty():
        return []
    broken = pl.col("state").is_in([FreshnessState.STALE.value, FreshnessState.CRITICAL.value])
    known = contracts()
    stale = newest.filter(broken & pl.col("asset").is_in(list(known)))
    since = dict(verdict_ledger.broken_since(history, ("asset",), broken).iter_rows())
    found = []
    for row in stale.sort("asset").iter_rows(named=True):
        table, age = known[row["asset"]], dt.timedelta(seconds=row["age_seconds"] or 0)
        level = (
            Level.CRITICAL if row["state"] == FreshnessState.CRITICAL.value or _too_old(table, age) else Level.WARNING
        )
        upstream = sorted(needed.key for needed in upstream_of([table]) - {table})
        causes = [f"freshness:{key}" for key in upstream] + [f"run_failed:{key}" for key in (table.key, *upstream)]
        found.append(
            Problem(
                key=f"freshness:{table.key}",
                level=level,
                title=f"{table.key}: data is {'too old' if level == Level.CRITICAL else 'late'}",
                what=row["reason"],
                owner=table.owner,
                since=since[table.key],
                asset=table.key,
                explained_by=(*causes, INGESTION_FAILED),
            )
        )
    seen_at: dt.datetime = newest["recorded_at"].max()  # type: ignore[assignment]
    if now - seen_at > FRESHNESS_UNSEEN:
        what = f"Nobody has looked at freshness for {span_text(now - seen_at)}; what is said of it is that old."
        title = "freshness is not watched"
        found.append(
            Problem(f"freshness:{Freshness.key}", Level.WARNING, title, what, PLATFORM, seen_at, Freshness.key)
        )
    return found


def _too_old(table: type[Table], age: dt.timedelta) -> bool:
    """Over two hours old, where the contract promises better (player events)."""
    return table.fresh is not None and table.fresh.fail <= OLD_DATA < age


# ----------------------------------------------------------------------------------- landing and storage
def backlogs(sources: Sequence[LandingSource], now: dt.datetime) -> list[Problem]:
    """One problem per source with files that wait for more than 15 minutes, or with more than 1,000 of them."""
    found = []
    for source in sources:
        waiting = waiting_since(settings().landing / source.name)
        if not waiting:
            continue
        oldest = dt.datetime.fromtimestamp(min(waiting), dt.UTC)
        if now - oldest > BACKLOG_WAIT or len(waiting) > BACKLOG_FILES:
            found.append(
                Problem(
                    key=f"backlog:{source.name}",
                    level=Level.CRITICAL if now - oldest > OLD_DATA else Level.WARNING,
                    title=f"{source.name}: {len(waiting):,} files wait in landing",
                    what=f"{len(waiting):,} files wait to be taken in, the oldest for {span_text(now - oldest)}.",
                    owner=source.table.owner,
                    since=oldest,
                    asset=source.table.key,
                    explained_by=(INGESTION_FAILED,),
                )
            )
    return found


def stopped_systems(sections: Mapping[str, SectionState], now: dt.datetime) -> list[Problem]:
    """One problem per system that a worker could not read for more than five minutes."""
    found = []
    for title, section in sorted(sections.items()):
        if section.problem is not None and section.problem_since and now - section.problem_since > TOLERATED:
            away = span_text(now - section.problem_since)
            what = f"The worker could not read it for {away}: {section.problem}. What it holds is read when it is back."
            since = section.problem_since
            found.append(Problem(f"system:{title}", Level.CRITICAL, f"{title} is not read", what, PLATFORM, since))
    return found


def gone_workers(since: dt.datetime | None, now: dt.datetime) -> list[Problem]:
    """One problem while a worker that was killed is gone for more than five minutes and none was started."""
    if since is None or now - since <= TOLERATED:
        return []
    what = (
        f"It was killed {span_text(now - since)} ago, or went with its machine, and none was started since. Nothing is "
        "lost: without a worker runs read the systems every five minutes."
    )
    return [Problem(f"worker:{socket.gethostname()}", Level.WARNING, "A worker is gone", what, PLATFORM, since)]


def storage_growth(lake: Lake, now: dt.datetime) -> list[Problem]:
    """The newest service level of that name, when its goal (10 % in 30 days) is missed."""
    recent = lake.scan(ServiceLevels, (now - LOOK_BACK).date()).filter(pl.col("name") == STORAGE_GROWTH)
    newest = recent.sort("level_date").tail(1).collect().to_dicts()
    if not newest or newest[0]["met"] is not False:
        return []
    level = newest[0]
    since = midnight(level["level_date"])
    what = f"{level['description']} It is {level['value']:.1%}, the goal is at most {level['goal']:.0%}."
    title = "storage grows faster than planned"
    return [Problem(STORAGE_GROWTH, Level.WARNING, title, what, PLATFORM, since, ServiceLevels.key)]


# ------------------------------------------------------------------------------------- what domains declare
def noticed(notice: Notice, lake: Lake, now: dt.datetime) -> list[Problem]:
    """One problem per row of a domain's table that somebody is to be told of."""
    if not lake.exists(notice.table):
        return []
    rows = lake.scan(notice.table, (now - notice.look_back).date(), now.date())
    return [
        Problem(
            key=f"{notice.kind}:{told.key}",
            level=Level[told.level.upper()],
            title=told.title,
            what=told.what,
            owner=notice.table.owner,
            since=told.since,
            asset=notice.table.key,
        )
        for told in notice.told(rows, now.date())
    ]


def span_text(span: dt.timedelta) -> str:
    """`4 min`, `2.5 h`, `3 days`."""
    minutes = span.total_seconds() / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} days"
