"""What a training set was made of stays readable: through corrections, compaction, vacuum and the ageing of logs.
Not here: what is in a set (test_training_sets)."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import pytest
from deltalake.exceptions import DeltaError

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError
from data_platform.core.lake.rewriting import compact
from data_platform.core.lake.store import Lake
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.gameplay.contracts.activity import PlayerDailyActivity
from data_platform.features import training_sets
from data_platform.operations import maintenance
from data_platform_tests.features.test_training_sets import (
    DAYS,
    PLAYERS,
    activity_rows,
    build,
    day,
    feature_rows,
    lake,  # noqa: F401
    played,  # noqa: F401
    random_history,
)

TABLES: tuple[type[Table], ...] = (PlayerDailyActivity, PlayerChurnFeatures)


AT_ONCE = dt.timedelta(0)


def delete_at_once(lake: Lake) -> None:  # noqa: F811
    """Replaced files may be deleted by the next maintenance, not only after a week."""
    for table in TABLES:
        lake.open(table).alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 hours"})


def correct(lake: Lake) -> None:  # noqa: F811
    """Late events: every day of both tables is written again with other rows, in several commits."""
    other = random_history(8)
    for first in range(0, DAYS, 10):
        days = [day(n) for n in range(first, first + 10)]
        lake.replace(PlayerDailyActivity, activity_rows({on: other[on] for on in days}), days)
        lake.replace(PlayerChurnFeatures, feature_rows({on: other[on] for on in days}, seed=3), days)


def test_a_set_is_rebuilt_after_corrections_compaction_and_vacuum(
    lake: Lake,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unpinned = {table: lake.version(table) for table in TABLES}
    lake.replace(PlayerDailyActivity, activity_rows({day(0): PLAYERS}), [day(0)])
    built = build(lake)
    correct(lake)
    delete_at_once(lake)
    for table in TABLES:
        compact(lake, table, at_least_files=1)
    done = maintenance.maintain(lake, AT_ONCE)
    assert done[PlayerDailyActivity.key].deleted > 0, "what no set needs is deleted"
    with pytest.raises(Exception, match="No such file"):
        lake.scan(PlayerDailyActivity, day(0), day(0), unpinned[PlayerDailyActivity]).collect()
    assert training_sets.rebuild(lake, built.id).manifest == built.manifest
    assert build(lake).id != built.id, "the corrections would have changed it"
    assert training_sets.load(lake, built.id).rows().equals(built.rows())

    # The test can fail: without its pins the set cannot be rebuilt.
    monkeypatch.setattr(maintenance, "pinned_versions", lambda lake: {})
    maintenance.maintain(lake, AT_ONCE)
    with pytest.raises(Exception, match="No such file"):
        training_sets.rebuild(lake, built.id)
    assert training_sets.load(lake, built.id).rows().equals(built.rows()), "its own files are not the tables'"


def test_other_rows_from_the_same_versions_are_reported(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Code that computes labels differently cannot pass itself off as the registered set."""
    built = build(lake)
    monkeypatch.setattr(training_sets.labels.LabelWindow, "last", lambda window, snapshot: snapshot + dt.timedelta(1))
    with pytest.raises(PlatformError, match="has other rows"):
        training_sets.rebuild(lake, built.id)


def age_log(lake: Lake, table: type[Table]) -> None:  # noqa: F811
    """Enough commits for a checkpoint; two months pass; commits again. Then Delta forgets what is before the old
    checkpoint."""
    long_ago = time.time() - 60 * 86_400
    for repeated in range(2):
        for n in range(25):
            lake.replace(table, activity_rows({day(n): PLAYERS[: n % 7 + 1 + repeated]}), [day(n)])
        if not repeated:
            for path in Path(lake.uri(table), "_delta_log").iterdir():
                os.utime(path, (long_ago, long_ago))


@pytest.mark.parametrize("pinned", [True, False])
def test_pinned_versions_outlive_the_log_retention(
    lake: Lake,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    pinned: bool,
) -> None:
    if not pinned:  # the test can fail: Delta does forget
        monkeypatch.setattr(training_sets.registry, "KEPT_LOG", {})
    built = build(lake)
    version = built.manifest.table_versions[PlayerDailyActivity.key]
    age_log(lake, PlayerDailyActivity)
    if pinned:
        assert lake.open(PlayerDailyActivity, version).version() == version
        assert training_sets.rebuild(lake, built.id).manifest == built.manifest
    else:
        with pytest.raises(DeltaError):
            lake.open(PlayerDailyActivity, version)
        done = maintenance.maintain(lake, dt.timedelta(7))
        assert {key for key, table in done.items() if table.pins_lost} == {PlayerDailyActivity.key}
