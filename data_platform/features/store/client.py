"""The ML engineer's client: features of the past without the future in them, features of now, training sets.
Belongs here: the verbs (Feast's, where Feast has them). Not here: how any of them works."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake.exceptions import DeltaError

from data_platform.core.errors import PlatformError
from data_platform.core.lake.bitemporal import open_history, require_history
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.features import catalogue
from data_platform.features.store.entities import as_entities
from data_platform.features.store.historical import HistoricalFeatures, Wanted, output_names
from data_platform.features.store.point_in_time import UNLIMITED, Source

if TYPE_CHECKING:
    import polars as pl

    from data_platform.features.online.store import OnlineStore
    from data_platform.features.store.online import OnlineResponse
    from data_platform.features.training_sets import TrainingSet

Ttl = dt.timedelta | Mapping[str, dt.timedelta] | None


class FeatureStore:
    """Features of a lake: a folder, an object-store URL with its options, or (nothing given) the configured one.

    Every method raises PlatformError, which says what to do, for anything a caller can put right.
    """

    def __init__(
        self,
        lake: Lake | str | Path | None = None,
        options: Mapping[str, str] | None = None,
        online: OnlineStore | None = None,
    ) -> None:
        if lake is None:
            self.lake = configured_lake()
        else:
            self.lake = lake if isinstance(lake, Lake) else Lake(str(lake), options)
        self._online = online

    # -------------------------------------------------------------------- what there is
    def list_features(self) -> pl.DataFrame:
        """One row per feature: feature_set, feature, type, unit, nullable, description, owner."""
        return catalogue.listed()

    def describe(self, feature_set: str) -> catalogue.FeatureSetDescription:
        """What a feature set means and promises, from its contract, and what there is of it in the lake."""
        one = catalogue.feature_set(feature_set)
        table, snapshot = one.table, self.lake.snapshot(one.table)
        days = snapshot.files.filter(snapshot.files["num_records"] > 0)
        newest = days["partition"].max()
        return catalogue.FeatureSetDescription(
            name=one.name,
            description=table.table_description(),
            owner=table.owner,
            entity=one.entity,
            snapshot=f"{table.columns[one.day].description} They hold from the end of that day on.",
            ttl=table.ttl,
            fresh_within=table.fresh.fail if table.fresh else None,
            remembers_corrections=table.bitemporal,
            newest_snapshot=dt.date.fromisoformat(str(newest)) if newest is not None else None,
            snapshots=days["partition"].n_unique(),
            rows=int(days["num_records"].sum()),
            contract_version=table.version(),
            table_version=snapshot.version,
            features=catalogue.describe_columns(one),
            checks=catalogue.set_checks(one),
        )

    # ----------------------------------------------------------------- features of the past
    def get_historical_features(
        self,
        entities: Any,
        features: Sequence[str] | str,
        *,
        known_at: dt.datetime | str | None = None,
        ttl: Ttl = None,
        timestamp: str = "event_timestamp",
        full_feature_names: bool = False,
        with_status: bool = False,
        versions: Mapping[str, int] | None = None,
    ) -> HistoricalFeatures:
        """For each entity row the newest features that held at its timestamp: a point-in-time join.

        `entities`: a frame of Polars (eager or lazy), pandas or Arrow with `player_id` and a timestamp with time zone;
        other columns come along. `features`: `set:feature`, or `set` for all of a set. The values of snapshot day D
        hold from D + 1, 00:00 UTC, for the set's time to live (`ttl` overrides it: one for all, or by set).

        `known_at` asks for what was known at a moment (or at the moments in a column), before later corrections; None
        is what is known now. `with_status` adds `<column>__status` (present, null, expired, missing) per value and
        `<set>__snapshot_date`. `versions` reads sets as of table versions. Nothing is computed before it is asked for.
        """
        wanted = _of_one_entity(features)
        entity = wanted[0][0].entity
        checked = as_entities(entities, entity, timestamp, known_at)
        names = [(one.name, columns) for one, columns in wanted]
        outputs = output_names(names, checked.columns, full_feature_names)
        sources = [
            Wanted(one.name, self._source(one, columns, known_at, _ttl_of(one, ttl), versions or {}), output)
            for (one, columns), output in zip(wanted, outputs, strict=True)
        ]
        found = HistoricalFeatures(checked, sources)
        if not with_status:
            return found
        output_names([(one.name, one.metadata()) for one in sources], list(found.schema), full=False)
        return HistoricalFeatures(checked, sources, with_status=True)

    # ------------------------------------------------------------------------ features of now
    def get_online_features(
        self,
        features: Sequence[str] | str,
        entity_rows: Sequence[Mapping[str, Any]],
        full_feature_names: bool = False,
    ) -> OnlineResponse:
        """The newest features of each row (`[{"player_id": "p-1"}, ...]`), from the online store. Feast's shape:
        `.to_dict()`, `.to_df()`; each value also has a status, and each set its snapshot, version and time of writing.
        """
        from data_platform.features.store.online import read_online

        wanted = _of_one_entity(features)
        given = list(dict.fromkeys(name for row in entity_rows if isinstance(row, Mapping) for name in row))
        names = output_names([(one.name, columns) for one, columns in wanted], given, full_feature_names)
        return read_online(self._online_store(), wanted, names, entity_rows, dt.datetime.now(dt.UTC))

    def _online_store(self) -> OnlineStore:
        if self._online is None:
            from data_platform.core.settings import settings
            from data_platform.features.online.configured import open_online_store

            self._online = open_online_store(settings())
        return self._online

    # ---------------------------------------------------------------------------- training sets
    def training_set(self, name: str, snapshot_range: tuple[dt.date, dt.date], **definition: Any) -> TrainingSet:
        """Build, register and return a versioned training set of feature rows and labels, split by time.

        `definition`: feature_set, features, label="churned", horizon_days=14, gap_days=0, split, every_days, players,
        exclude; see `data_platform.features.training_sets.build`. The same set asked for twice is built once. Raises
        PlatformError when a label of the range is not known yet.
        """
        from data_platform.features import training_sets

        return training_sets.build(self.lake, name, snapshot_range, **definition)

    def load_training_set(self, training_set_id: str) -> TrainingSet:
        """A registered training set, bit for bit as it was built, whatever was corrected since."""
        from data_platform.features import training_sets

        return training_sets.load(self.lake, training_set_id)

    # ------------------------------------------------------------------------------- plumbing
    def _source(
        self,
        one: catalogue.FeatureSet,
        features: Sequence[str],
        known_at: dt.datetime | str | None,
        ttl: dt.timedelta | None,
        versions: Mapping[str, int],
    ) -> Source:
        if known_at is not None:
            require_history(one.table)
        if not self.lake.exists(one.table):
            raise PlatformError(
                f"{one.table.key} is not in {self.lake.root}.",
                f"`data-platform build {one.table.key}` computes it; or open another lake: FeatureStore(lake=...).",
            )
        version = versions.get(one.name, versions.get(one.table.key))
        try:
            history = open_history(self.lake, one.table, version)
        except DeltaError:
            if version is None:
                raise
            raise PlatformError(
                f"{one.table.key} has no version {version} any more, or never had.",
                f"Its newest is {self.lake.version(one.table)}; known_at asks for what was known at a moment.",
            ) from None
        return Source(history, one.day, one.entity, features, ttl)


def _of_one_entity(features: Sequence[str] | str) -> list[tuple[catalogue.FeatureSet, list[str]]]:
    wanted = catalogue.resolve(features)
    entities = sorted({one.entity for one, _ in wanted})
    if len(entities) > 1:
        raise PlatformError(
            f"The features belong to different entities: {', '.join(entities)}.", "Ask for them one by one."
        )
    return wanted


def _ttl_of(one: catalogue.FeatureSet, given: Ttl) -> dt.timedelta | None:
    own = one.table.ttl
    chosen = given.get(one.name, own) if isinstance(given, Mapping) else own if given is None else given
    if chosen is not None and (not isinstance(chosen, dt.timedelta) or chosen < dt.timedelta(0)):
        raise PlatformError(
            f"The time to live of {one.name} is {chosen}.",
            "Pass a timedelta of 0 or more; timedelta.max is for ever.",
        )
    return None if chosen is None or chosen >= UNLIMITED else chosen
