"""From tables to a registered training set, one snapshot day at a time: memory is bounded by one day.
Belongs here: what is refused, which rows, in which order. Not here: what a label means (labels), files (registry)."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import importlib.metadata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError, counted, did_you_mean
from data_platform.core.lake import bitemporal
from data_platform.core.lake.store import Lake
from data_platform.core.scratch import scratch_folder
from data_platform.features.catalogue import feature_sets
from data_platform.features.training_sets import registry
from data_platform.features.training_sets.labels import LabelWindow, known_labels, label_called
from data_platform.features.training_sets.manifest import (
    KEY,
    NAME,
    SPLIT,
    DayFile,
    Definition,
    Manifest,
    content_digest,
    id_of,
    joint_digest,
)
from data_platform.features.training_sets.registry import TrainingSet
from data_platform.features.training_sets.splits import NO_SPLIT, TimeSplit

ACTIVE, ALL = "active", "all"
DEFAULT_SPLIT = TimeSplit()


def build(
    lake: Lake,
    name: str,
    snapshot_range: tuple[dt.date, dt.date],
    *,
    feature_set: str = "player_churn_features",
    features: Sequence[str] | None = None,
    label: str = "churned",
    horizon_days: int = 14,
    gap_days: int = 0,
    split: TimeSplit | None = DEFAULT_SPLIT,
    every_days: int = 1,
    players: str = ACTIVE,
    exclude: Collection[str] = (),
    known_at: dt.datetime | None = None,
    today: dt.date | None = None,
) -> TrainingSet:
    """Build, register and return a training set; the same set asked for twice is built and stored once.

    Rows are those of `feature_set` on every `every_days`-th day from the first to the last of `snapshot_range`
    (inclusive), with `features` (all by default) and the label of the `horizon_days` days after each snapshot day and a
    gap. `players="active"` takes those with an event in the feature window, `"all"` everyone with a feature row;
    players in `exclude` (no consent, erased) are left out. `split=None` makes everything training data. `known_at`, a
    moment with its time zone, gives feature values as they were known then, without later corrections; labels, which a
    model is held against, are by the best of today's knowledge.

    Raises PlatformError when the range holds a day whose label is not known yet, when days of features or activity are
    missing, and for names that do not exist.
    """
    table = feature_table(feature_set)
    window = _window(label, horizon_days, gap_days)
    definition = Definition(
        name=_checked_name(name),
        feature_set=feature_set,
        features=_chosen(table, features),
        label=label,
        window=window,
        split=split or NO_SPLIT,
        snapshots=_snapshots(snapshot_range, every_days),
        players=_checked_players(players, table),
        known_at=_moment(known_at),
        excluded_players=len(set(exclude)),
        excluded_digest=_digest_of(exclude),
    )
    definition.parts()  # a split that cannot be is refused before anything is read
    if definition.known_at:
        bitemporal.require_history(table)
    versions = _pinned_now(lake, table, label_called(label).table)
    _refuse_open_windows(definition, today or (definition.known_at or dt.datetime.now(dt.UTC)).date())
    _refuse_missing_days(lake, table, definition, versions)
    with scratch_folder("data-platform-training-set-") as folder:
        files = tuple(_day_files(lake, definition, versions, exclude, folder))
        manifest = _manifest(definition, table, versions, files)
        return registry.register(lake, manifest, folder)


def rebuild(lake: Lake, training_set_id: str, *, exclude: Collection[str] = ()) -> TrainingSet:
    """Compute a registered set once more from the table versions it was made of, and prove that it is the same.

    Files of the set that were changed or lost are put back. Sets built with `exclude` need the same players again.
    Raises PlatformError when the rows differ: then the code that computes them has changed.
    """
    manifest = registry.read_manifest(lake, training_set_id)
    definition = manifest.definition
    if _digest_of(exclude) != definition.excluded_digest:
        raise PlatformError(
            f"{training_set_id} was built without {definition.excluded_players} excluded players, and these are not "
            f"the ones given now.",
            "Pass the same ids as `exclude`; a manifest does not keep them.",
        )
    with scratch_folder("data-platform-training-set-") as folder:
        files = tuple(_day_files(lake, definition, manifest.table_versions, exclude, folder))
        if joint_digest(files) != manifest.content_sha256:
            table = feature_table(definition.feature_set)
            raise PlatformError(
                f"{training_set_id}, computed again from the same table versions, has other rows.",
                f"It was built by code {manifest.code_version} on contract {manifest.contract_versions[table.key]}; "
                f"now these are {code_version()} and {table.version()}. The registered files are still what they were.",
            )
        return registry.restore(lake, replace(manifest, files=files), folder)


def feature_table(feature_set: str) -> type[Table]:
    """The contract of a feature set by its name. Raises PlatformError naming those there are."""
    known = {name: one.table for name, one in feature_sets().items() if one.table.primary_key == KEY}
    if feature_set not in known:
        meant = did_you_mean(feature_set, known)
        raise PlatformError(
            f"There is no feature set {feature_set!r}.", f"{meant}There are {', '.join(sorted(known))}."
        )
    return known[feature_set]


@functools.cache
def code_version() -> str:
    """The platform's version and a digest of the modules that decide what is in a row."""
    here = Path(__file__).parent
    code = b"".join((here / f"{module}.py").read_bytes() for module in ("building", "labels", "splits", "manifest"))
    code += b"".join(label.code() for _, label in sorted(known_labels().items()))
    return f"{importlib.metadata.version('data-platform')}+{hashlib.sha256(code).hexdigest()[:12]}"


# ---------------------------------------------------------------------------- rows
def rows_of_day(
    snapshot: dt.date,
    features: pl.LazyFrame,
    happened: pl.LazyFrame,
    definition: Definition,
    part: str,
    exclude: Collection[str] = (),
) -> pl.LazyFrame:
    """The rows of one snapshot day: snapshot_date, player_id, split, the features, the label.

    In: the feature set's rows of the day, and the table of the label (any days).
    """
    chosen = eligible(features, definition, exclude)
    known = label_called(definition.label).of(snapshot, chosen, happened, definition.window)
    return chosen.join(known, on="player_id", how="inner").select(
        *KEY, pl.lit(part).alias(SPLIT), *definition.features, definition.label
    )


def eligible(features: pl.LazyFrame, definition: Definition, exclude: Collection[str] = ()) -> pl.LazyFrame:
    """The feature rows of players that a set is about: active ones if it says so, and admitted."""
    rows = features.filter(pl.col("total_events") > 0) if definition.players == ACTIVE else features
    return admitted(rows, exclude)


def admitted(rows: pl.LazyFrame, exclude: Collection[str]) -> pl.LazyFrame:
    """The rows of players a model may be trained on. Every row of every training set passes here."""
    if not exclude:
        return rows
    excluded = pl.LazyFrame({"player_id": sorted(set(exclude))}, schema={"player_id": pl.String})
    return rows.join(excluded, on="player_id", how="anti")


def _day_files(
    lake: Lake, definition: Definition, versions: Mapping[str, int], exclude: Collection[str], folder: Path
) -> Iterator[DayFile]:
    """Write one Parquet file per snapshot day into the folder."""
    table, window = feature_table(definition.feature_set), definition.window
    parts = definition.parts()
    first, last = min(parts), max(parts)
    features = _feature_rows(lake, table, definition, versions[table.key])
    source = label_called(definition.label).table
    happened = lake.scan(source, window.first(first), window.last(last), versions[source.key])
    for snapshot, part in parts.items():
        rows = rows_of_day(snapshot, features(snapshot), happened, definition, part, exclude).collect().sort(KEY)
        if rows.is_empty() and definition.known_at:
            raise PlatformError(
                f"Nothing was known of {snapshot} at {definition.known_at.isoformat()}.",
                "Choose a later moment, or a snapshot range that was computed by then.",
            )
        content = registry.day_bytes(rows)
        name = f"{snapshot}.parquet"
        (folder / name).write_bytes(content)
        yield DayFile(
            snapshot_date=snapshot,
            split=part,
            rows=len(rows),
            positives=int(rows[definition.label].sum()),
            file=name,
            sha256=hashlib.sha256(content).hexdigest(),
            content_sha256=content_digest(rows),
        )


def _feature_rows(
    lake: Lake, table: type[Table], definition: Definition, version: int
) -> Callable[[dt.date], pl.LazyFrame]:
    """Snapshot day → its rows of the feature set, at the version, or as known at the definition's moment."""
    if definition.known_at is None:
        snapshot = lake.snapshot(table, version)
        return lambda day: snapshot.scan(day, day)
    history, known_at = bitemporal.open_history(lake, table, version), definition.known_at
    return lambda day: bitemporal.scan_as_known(history, known_at, day, day)


def _manifest(
    definition: Definition, table: type[Table], versions: Mapping[str, int], files: tuple[DayFile, ...]
) -> Manifest:
    content = joint_digest(files)
    return Manifest(
        id=id_of(definition, content),
        definition=definition,
        table_versions=dict(versions),
        contract_versions={read.key: read.version() for read in (table, label_called(definition.label).table)},
        code_version=code_version(),
        content_sha256=content,
        created_at=dt.datetime.now(dt.UTC),
        files=files,
    )


def _pinned_now(lake: Lake, *tables: type[Table]) -> dict[str, int]:
    """The newest version of each table, which from now on stays readable."""
    versions: dict[str, int] = {}
    for table in tables:
        if not lake.exists(table):
            raise PlatformError(f"{table.key} has not been built.", f"`data-platform build {table.key}` computes it.")
        registry.keep_log(lake, table)
        versions[table.key] = lake.open(table).version()
    return versions


# ------------------------------------------------------------------ what is refused
def _refuse_open_windows(definition: Definition, today: dt.date) -> None:
    newest = definition.window.newest_known(today)
    if definition.snapshots[-1] > newest:
        window = definition.window
        raise PlatformError(
            f"Whether players of {definition.snapshots[-1]} are {definition.label} is not known before the end of "
            f"{window.last(definition.snapshots[-1])}: the label looks {counted(window.reach_days, 'day')} ahead.",
            f"End the snapshot range at {newest} or earlier, or choose a shorter horizon.",
        )


def _refuse_missing_days(lake: Lake, table: type[Table], definition: Definition, versions: Mapping[str, int]) -> None:
    """A day without a file was never computed, or nobody played; a label must not take the one for the other."""
    window, used = definition.window, definition.parts()
    label_days = {
        window.first(snapshot) + dt.timedelta(days) for snapshot in used for days in range(window.horizon_days)
    }
    for wanted, read in ((set(used), table), (label_days, label_called(definition.label).table)):
        published = set(lake.partitions(read, versions[read.key])["partition"].str.to_date())
        missing = sorted(wanted - published)
        if missing:
            listed = ", ".join(map(str, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            newest = max(published, default=None)
            raise PlatformError(
                f"{read.key} has no rows on {listed} (its newest day is {newest}), and the training set needs them.",
                f"`data-platform build {read.key}` computes what is out of date; or choose another snapshot range.",
            )


def _window(label: str, horizon_days: int, gap_days: int) -> LabelWindow:
    label_called(label)
    if not 1 <= horizon_days <= 365 or not 0 <= gap_days <= 365:
        raise PlatformError(
            f"A label of {counted(horizon_days, 'day')} after a gap of {counted(gap_days, 'day')} cannot be.",
            "The horizon is 1 to 365 days, the gap 0 to 365.",
        )
    return LabelWindow(horizon_days, gap_days)


def _moment(known_at: dt.datetime | None) -> dt.datetime | None:
    """In UTC, so that one moment is one definition."""
    if known_at is None:
        return None
    if known_at.tzinfo is None or known_at > dt.datetime.now(dt.UTC):
        raise PlatformError(
            f"known_at {known_at.isoformat()} is no moment of the past: it has "
            f"{'no time zone' if known_at.tzinfo is None else 'not come yet'}.",
            "Give a past moment with its zone, for example datetime(2026, 1, 6, tzinfo=UTC).",
        )
    return known_at.astimezone(dt.UTC)


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise PlatformError(
            f"A training set cannot be called {name[:100]!r}.",
            "Use up to 63 small letters, digits, - and _, beginning with a letter or digit.",
        )
    return name


def _chosen(table: type[Table], features: Sequence[str] | None) -> tuple[str, ...]:
    known = [column for column in table.columns if column not in KEY]
    unknown = [feature for feature in features or () if feature not in known]
    if unknown:
        raise PlatformError(f"{table.key} has no feature {', '.join(unknown)}.", f"It has {', '.join(known)}.")
    return tuple(known if features is None else dict.fromkeys(features))


def _snapshots(snapshot_range: tuple[dt.date, dt.date], every_days: int) -> tuple[dt.date, ...]:
    first, last = snapshot_range
    if first > last or every_days < 1:
        raise PlatformError(
            f"There is no snapshot day from {first} to {last}, every {counted(every_days, 'day')}.",
            "Give the first day, then the last one, and 1 or more days from one snapshot to the next.",
        )
    return tuple(first + dt.timedelta(days) for days in range(0, (last - first).days + 1, every_days))


def _checked_players(players: str, table: type[Table]) -> str:
    if players not in (ACTIVE, ALL):
        raise PlatformError(f"There are no players called {players!r}.", f"Choose {ACTIVE!r} or {ALL!r}.")
    if players == ACTIVE and "total_events" not in table.columns:
        raise PlatformError(
            f"{table.key} does not say who was active in the window.", "Choose `players='all'` or another feature set."
        )
    return players


def _digest_of(players: Collection[str]) -> str | None:
    return hashlib.sha256("\n".join(sorted(set(players))).encode()).hexdigest() if players else None
