"""Which of Dagster's old runs may be forgotten, on both of its storages, and what is left when they are.
Not here: when and how often (test_maintenance)."""

# No postponed annotations here: Dagster reads the annotations of assets at import.

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import pytest

from data_platform.core.instance.dagster_home import open_instance
from data_platform.core.instance.old_runs import forget_runs, old_runs
from data_platform.core.settings import settings
from data_platform_tests.support.homes import Home
from data_platform_tests.support.online_servers import PASSWORD, postgres_with_role

ONE, OTHER, THIRD = "2024-01-03", "2024-01-04", "2024-01-05"


class Broken(dg.Config):
    broken: bool = False


@dg.asset(
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01"),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def by_day(config: Broken) -> None:
    if config.broken:
        raise ValueError("broken")


@dg.asset
def whole() -> None: ...


@pytest.fixture(params=["sqlite", "postgresql"])
def instance(
    request: pytest.FixtureRequest, home: Home, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    if request.param == "sqlite":
        with home.used(), open_instance() as opened:
            yield opened
        return
    with postgres_with_role("dagster", "dagster") as (_, folder):
        monkeypatch.setenv("DATA_PLATFORM_POSTGRES_URL", f"postgresql://dagster:{PASSWORD}@/dagster?host={folder}")
        settings.cache_clear()
        with home.used(), open_instance() as opened:
            yield opened
        monkeypatch.undo()
        settings.cache_clear()


def ran(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, *days: str, broken: bool = False) -> str:
    """A run of an asset, over these days; its id."""
    first_last = zip(("start", "end"), (days[0], days[-1]), strict=True) if len(days) > 1 else ()
    result = dg.materialize(
        [asset],
        instance=instance,
        partition_key=days[0] if len(days) == 1 else None,
        tags={f"dagster/asset_partition_range_{name}": day for name, day in first_last},
        run_config={"ops": {"by_day": {"config": {"broken": broken}}}} if asset is by_day else None,
        raise_on_error=False,
    )
    assert result.success is not broken
    return result.run_id


def newest(instance: dg.DagsterInstance) -> tuple[object, ...]:
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    storage = instance.event_log_storage
    return (
        storage.get_latest_storage_id_by_partition(by_day.key, kind),
        storage.get_latest_asset_partition_materialization_attempts_without_materializations(by_day.key),
        instance.fetch_materializations(whole.key, limit=1).records[0].storage_id,
    )


def test_only_what_no_day_rests_on_is_forgotten(instance: dg.DagsterInstance) -> None:
    superseded = ran(instance, by_day, ONE)
    in_part = ran(instance, by_day, ONE, OTHER, THIRD)  # the last to write the third day
    last = ran(instance, by_day, ONE, OTHER)
    failed_before = ran(instance, by_day, OTHER, broken=True)
    failed = ran(instance, by_day, OTHER, broken=True)
    first, second = ran(instance, whole), ran(instance, whole)
    before = newest(instance)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    found = old_runs(instance, later)
    assert set(found.free) == {superseded, failed_before, first}
    assert set(found.held) == {in_part, last, failed, second}
    assert old_runs(instance, later - dt.timedelta(days=1)).free == ()
    for _ in range(2):  # who was killed half-way does it again
        forget_runs(instance, found.free)
    assert newest(instance) == before
    assert {run.run_id for run in instance.get_runs()} == set(found.held)
    assert not instance.all_logs(superseded)
    assert instance.all_logs(last)
