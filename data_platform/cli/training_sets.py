"""Commands about training sets: training-set build, list, load. Not here: what is in one (features/training_sets)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from data_platform.core.errors import PlatformError
from data_platform.core.terminal import AsJson, busy, day_option, out, print_json, show

if TYPE_CHECKING:
    from data_platform.features.training_sets import Manifest, TrainingSet

app = typer.Typer(no_args_is_help=True, help="Build, list and load training sets for the churn model.")
To = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Also write the rows to this file: .parquet, .csv or .ndjson."),
]


@app.command()
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="For example churn; the id begins with it.")],
    first: Annotated[dt.datetime, day_option("--from", "First snapshot day.")],
    last: Annotated[dt.datetime, day_option("--to", "Last snapshot day.")],
    every: Annotated[int, typer.Option(min=1, help="Days from one snapshot to the next.")] = 1,
    horizon: Annotated[int, typer.Option(min=1, help="Churned: no event in so many days.")] = 14,
    gap: Annotated[int, typer.Option(min=0, help="Days after the snapshot that do not count.")] = 0,
    feature_set: Annotated[str, typer.Option("--set", metavar="SET", help="Which features.")] = "player_churn_features",
    whole: Annotated[bool, typer.Option("--whole", help="No split into train, validation and test.")] = False,
    to: To = None,
    as_json: AsJson = False,
) -> None:
    """Build and register a training set; one that is there already is not built again."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.features import training_sets

    _writable(to)
    with busy(f"joining {feature_set} of {first.date()} to {last.date()} with labels"):
        built = training_sets.build(
            configured_lake(),
            name,
            (first.date(), last.date()),
            feature_set=feature_set,
            horizon_days=horizon,
            gap_days=gap,
            every_days=every,
            split=None if whole else training_sets.TimeSplit(),
        )
    _show(built, to, as_json)


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only sets of this name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every registered training set, newest first."""
    import polars as pl

    from data_platform.core.lake.store import configured_lake
    from data_platform.features.training_sets import registered

    facts = [_facts(manifest) for manifest in registered(configured_lake(), name)]
    if as_json:
        print_json(facts)
    else:
        shown = ("id", "first_snapshot", "last_snapshot", "rows", "positive_share", "horizon_days", "created_at")
        show(pl.DataFrame([{key: str(fact[key]) for key in shown} for fact in facts]))


@app.command()
def load(
    training_set_id: Annotated[str, typer.Argument(metavar="ID", help="As `training-set list` shows it.")],
    to: To = None,
    as_json: AsJson = False,
) -> None:
    """Verify a registered training set, bit for bit, and write its rows to a file."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.features import training_sets

    _writable(to)
    with busy(f"comparing the files of {training_set_id} with their digests"):
        found = training_sets.load(configured_lake(), training_set_id)
    _show(found, to, as_json)


def _facts(manifest: Manifest) -> dict[str, Any]:
    definition = manifest.definition
    return {
        "id": manifest.id,
        "first_snapshot": definition.snapshots[0],
        "last_snapshot": definition.snapshots[-1],
        "snapshots": len(manifest.files),
        "rows": manifest.rows,
        "rows_by_split": manifest.rows_by_split,
        "positive_share": round(manifest.positives / manifest.rows, 4) if manifest.rows else None,
        "features": len(definition.features),
        "label": definition.label,
        "horizon_days": definition.window.horizon_days,
        "gap_days": definition.window.gap_days,
        "table_versions": dict(manifest.table_versions),
        "code_version": manifest.code_version,
        "created_at": manifest.created_at.replace(microsecond=0),
    }


def _show(built: TrainingSet, to: Path | None, as_json: bool) -> None:
    facts = _facts(built.manifest) | {"folder": built.root}
    if to:
        _write(built, to)
        facts["out"] = str(to)
    if as_json:
        print_json(facts)
        return
    parts = ", ".join(f"{part} {rows:,}" for part, rows in facts["rows_by_split"].items())
    share = f", {facts['positive_share']:.1%} {facts['label']}" if facts["positive_share"] is not None else ""
    out.print(Text(f"{built.id}\n  {facts['rows']:,} rows ({parts}){share}\n  {facts['out'] if to else built.root}"))


WRITERS = {".parquet": "write_parquet", ".csv": "write_csv", ".ndjson": "write_ndjson"}


def _writable(to: Path | None) -> None:
    if to and to.suffix not in WRITERS:
        raise PlatformError(f"Rows cannot be written to {to}.", f"Let the name end with {', '.join(WRITERS)}.")
    if to and not to.absolute().parent.is_dir():
        raise PlatformError(f"There is no folder {to.absolute().parent}.", "Make it first, or choose another.")


def _write(built: TrainingSet, to: Path) -> None:
    from data_platform.core.spreadsheets import without_formulas

    rows = without_formulas(built.rows()) if to.suffix == ".csv" else built.rows()
    getattr(rows, WRITERS[to.suffix])(to)
