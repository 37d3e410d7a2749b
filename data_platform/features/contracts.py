"""Contracts of what is known about serving: what is online, what was served, whether it was what the lake says.
Not here: features themselves (their domains' contracts)."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.table import JsonObject, Personal, Table, column

OWNER = "team:data-platform"


class OnlinePlayerFeatures(Table):
    """What the online store serves: one row per feature set. The vectors themselves are in the store, one per player of
    the newest snapshot day."""

    key = "features/online_player_features"
    primary_key = ("feature_set",)
    owner = OWNER

    feature_set: str = column("Name of the feature table, for example `player_churn_features`.", min_length=1)
    snapshot_date: dt.date = column("The day whose rows are served.")
    players: int = column("Vectors in the store.", ge=0)
    features: int = column("Values of a vector.", ge=1)


class ServedFeatures(Table):
    """A sample of the feature vectors that the API served, as they were sent: one row per vector."""

    key = "quality/served_features"
    partition = "served_date"
    primary_key = ("served_date", "file", "line")
    owner = OWNER
    sorted = False
    journal = True
    retention = dt.timedelta(days=90)

    served_date: dt.date = column("UTC day of the answer.")
    file: str = column("File of the log that the row came in.", min_length=1)
    line: int = column("Its place in the file.", ge=0)
    served_at: dt.datetime = column("When it was served.")
    feature_set: str = column("For example `player_churn_features`.", min_length=1)
    player_id: str = column("Whose features.", personal=Personal.PSEUDONYM, min_length=1)
    snapshot_date: dt.date = column("Snapshot day the answer stated.")
    table_version: int = column("Delta version the answer stated.", ge=0)
    contract_version: str = column("Contract version the answer stated.")
    names: list[str] = column("Features in the answer.")
    features: JsonObject = column("Their values, as they were sent.", personal=Personal.CONTENT)


class ServingSkew(Table):
    """Served vectors held against the lake, at the very version they were read from: one row per day and feature."""

    key = "quality/serving_skew"
    partition = "served_date"
    primary_key = ("served_date", "feature_set", "feature")
    owner = OWNER

    served_date: dt.date = column("UTC day of the answers.")
    feature_set: str = column("For example `player_churn_features`.", min_length=1)
    feature: str = column("Name of the feature.", min_length=1)
    compared: int = column("Values that were compared.", ge=0, derived_from=[ServedFeatures.features])
    mismatched: int = column(
        "Of them other than in the lake, or of a player who is not there.",
        ge=0,
        derived_from=[ServedFeatures.features],
    )
    not_verifiable: int = column("Values of a version whose files are no longer kept.", ge=0)
    sample: JsonObject | None = column(
        "One mismatch: player, what was served, what the lake says.", personal=Personal.CONTENT
    )
