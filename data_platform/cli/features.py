"""Commands of the feature store: list, describe, pull, feast-repo. Not here: how features are found or joined."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from data_platform.core.errors import PlatformError, counted
from data_platform.core.terminal import AsJson, busy, out, print_json, show

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(no_args_is_help=True, help="Features of players: what there is, and what it was at any moment.")

AS_OF = "event_timestamp"
"""The column that a moment given to `pull` is written into, and Feast's name for it."""


@app.command("list")
def list_features(as_json: AsJson = False) -> None:
    """Every feature: its set, type, unit and meaning."""
    from data_platform.features import catalogue

    features = catalogue.listed()
    if as_json:
        print_json(features.to_dicts())
        return
    for (name,), one in features.group_by("feature_set", maintain_order=True):
        out.print(Text(str(name), "bold"))
        show(one.select("feature", "type", "unit", "description"))


@app.command()
def describe(
    feature_set: Annotated[str, typer.Argument(metavar="SET", help="For example player_churn_features.")],
    as_json: AsJson = False,
) -> None:
    """What a feature set means and promises, and what there is of it."""
    from data_platform.features import FeatureStore

    described = FeatureStore().describe(feature_set)
    if as_json:
        print_json(described.to_dict())
    else:
        out.print(Text(str(described)), soft_wrap=True)


@app.command()
def pull(
    features: Annotated[
        list[str], typer.Argument(metavar="SET|SET:FEATURE", help="For example player_churn_features.")
    ],
    players: Annotated[Path, typer.Option(metavar="FILE", help="Whom for: .parquet or .csv with a column player_id.")],
    as_of: Annotated[
        str,
        typer.Option(
            metavar="MOMENT",
            help="A day (its end, UTC), a moment with time zone, or the column of --players that holds moments.",
        ),
    ],
    to_file: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to: .parquet, .csv or .ndjson.")],
    known_at: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="What was known then, before later corrections; given like --as-of."),
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Also say of each value: present, null, expired or missing.")
    ] = False,
) -> None:
    """Write the features of players as they were at a moment: a point-in-time join, without the future."""
    import polars as pl

    from data_platform.features import FeatureStore

    entities = _players(players)
    schema = entities.collect_schema()
    timestamp = as_of if as_of in schema else AS_OF
    if timestamp != as_of:
        if AS_OF in schema:
            raise PlatformError(f"{players} has a column {AS_OF} already.", f"Pass --as-of {AS_OF}, or leave it out.")
        entities = entities.with_columns(pl.lit(_moment(as_of, "--as-of").astimezone(dt.UTC)).alias(AS_OF))
    knowledge = known_at if known_at is None or known_at in schema else _moment(known_at, "--known-at")
    found = FeatureStore().get_historical_features(
        entities, features, timestamp=timestamp, known_at=knowledge, with_status=status
    )
    with busy(f"joining features of {players.name} into {to_file.name}"):
        rows = found.write(to_file)
    out.print(f"{counted(rows, 'row')} → {to_file}")


@app.command("feast-repo")
def feast_repo(
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder; one made before is brought up to date.")],
    sets: Annotated[
        list[str] | None, typer.Argument(metavar="SET", help="Feature sets; without one: all in the lake.")
    ] = None,
    as_known: Annotated[
        bool, typer.Option("--as-known", help="Also a view with every version of corrected rows (a copy).")
    ] = False,
) -> None:
    """Make a Feast repository over the lake's own Parquet files. Feast need not be installed here."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.features.feast.repository import write_repository

    with busy("linking the files of feature sets"):
        exported = write_repository(configured_lake(), to, sets or (), as_known)
    for one in exported:
        counts = f"{counted(one.linked, 'file')} linked, {one.written:,} written, {one.unchanged:,} as before"
        out.print(f"{one.view}: {counts}", highlight=False)
    out.print(f"Next, where Feast is installed: cd {to} && feast apply", highlight=False, soft_wrap=True)


def _players(file: Path) -> pl.LazyFrame:
    """The file, lazily; moments in a CSV are text with a time zone."""
    import polars as pl

    if not file.is_file():
        raise PlatformError(f"There is no file {file}.", "Pass a .parquet or .csv file with a column player_id.")
    if file.suffix == ".parquet":
        return pl.scan_parquet(file)
    if file.suffix == ".csv":
        return pl.scan_csv(file, schema_overrides={"player_id": pl.String}, try_parse_dates=True)
    raise PlatformError(f"{file} is neither .parquet nor .csv.", "Convert it to one of them.")


def _moment(given: str, option: str) -> dt.datetime:
    """The end of a day, or a moment. Raises PlatformError for anything else."""
    try:
        found = dt.datetime.fromisoformat(given)
    except ValueError:
        raise PlatformError(
            f"{option} {given[:100]!r} is neither a day, nor a moment, nor a column of the players.",
            "Write for example 2026-11-19 or 2026-11-19T08:00:00Z.",
        ) from None
    if len(given) <= len("2026-11-19"):
        return found.replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
    if found.tzinfo is None:
        raise PlatformError(f"{option} {given} has no time zone.", f"Write {given}Z for UTC.")
    return found
