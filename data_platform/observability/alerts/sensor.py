"""The watch itself: a Dagster sensor that looks every minute, and the job of the daily summary.
Belongs here: putting look, episodes and delivery together. Not here: any of the three."""

# No postponed annotations here: Dagster reads the annotations of op functions at import.

import datetime as dt
from collections.abc import Callable, Sequence

import dagster as dg

from data_platform.core.instance.past_runs import run_records
from data_platform.core.lake.store import Lake, configured_lake
from data_platform.core.settings import settings
from data_platform.observability.alerts.delivery import Route, channels_for, deliver, read_routes
from data_platform.observability.alerts.messages import Message, of_notification
from data_platform.observability.alerts.problems import PLATFORM, Level, look
from data_platform.observability.alerts.store import AlertStore
from data_platform.observability.alerts.summary import daily_summary
from data_platform.sources.landing_source import LandingSource

COMPLETED_WITHIN = dt.timedelta(hours=1)
SCHEDULE_TAG = "dagster/schedule_name"
Log = Callable[[str], None]


def watch(
    lake: Lake,
    instance: dg.DagsterInstance,
    sources: Sequence[LandingSource],
    store: AlertStore,
    routes: Sequence[Route],
    now: dt.datetime,
    log: Log,
    announced_jobs: Sequence[str] = (),
) -> list[Message]:
    """Look once, say what must be said, send what waits; returns what was new. Safe in several processes at once.

    Completed runs of `announced_jobs` are reported as information.
    """
    found = look(lake, instance, sources, now, store.open_since())
    url = settings().dagster_url

    def channels(message: Message) -> list[str]:
        return [channel.id for channel in channels_for(message, routes)]

    new = store.take_in(found, now, lambda said: of_notification(said, url), channels)
    for message in new:
        log(_logged(message, routes))
    new += _completed(instance, announced_jobs, store, routes, now)
    deliver(store, routes, now, log)
    return new


def _logged(message: Message, routes: Sequence[Route]) -> str:
    """The whole message where nobody else gets it, else its title and who does."""
    takers = [f"{channel.route} ({channel.shown})" for channel in channels_for(message, routes)]
    return f"{message.title} → {', '.join(takers)}" if takers else f"{message.title}\n{message.body}"


def _completed(
    instance: dg.DagsterInstance, jobs: Sequence[str], store: AlertStore, routes: Sequence[Route], now: dt.datetime
) -> list[Message]:
    """Runs of these jobs that a schedule started and that succeeded within the hour, each once."""
    if not any(route.at_least == Level.INFO for route in routes):
        return []
    new = []
    for job in jobs:
        succeeded = dg.RunsFilter(
            job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=now - COMPLETED_WITHIN
        )
        for record in run_records(instance, succeeded):
            run = record.dagster_run
            if SCHEDULE_TAG not in run.tags:
                continue
            body = f"Run {run.run_id[:8]}\nLink: {settings().dagster_url.rstrip('/')}/runs/{run.run_id}"
            message = Message(f"completed {run.run_id}", Level.INFO, PLATFORM, f"[info] {job} completed", body, True)
            if store.queue(message, [channel.id for channel in channels_for(message, routes)], now):
                new.append(message)
    return new


def summarise(lake: Lake, store: AlertStore, routes: Sequence[Route], now: dt.datetime, log: Log) -> Message:
    """Say the daily summary, once a day however often it is asked for."""
    message = daily_summary(lake, list(store.state().episodes.values()), now)
    if store.queue(message, [channel.id for channel in channels_for(message, routes)], now):
        log(_logged(message, routes))
    deliver(store, routes, now, log)
    return message


def alert_sensor(sources: Sequence[LandingSource], announced_jobs: Sequence[str] = ()) -> dg.SensorDefinition:
    """Looks every minute. A wrong configuration fails the tick, which Dagster shows, and nothing is forgotten by it."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people what is wrong: one alert per failure, and one when it is over.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        routes = read_routes(settings().alerts)
        store = AlertStore(settings().home)
        now = dt.datetime.now(dt.UTC)
        lake, log = configured_lake(), context.log.warning
        new = watch(lake, context.instance, sources, store, routes, now, log, announced_jobs)
        lasting = sum(e.closed_at is None for e in store.state().episodes.values())
        return dg.SkipReason(f"{lasting} problems are open, {len(new)} messages are new")

    return alerts


@dg.op
def say_daily_summary(context: dg.OpExecutionContext) -> None:
    """Yesterday in one message."""
    routes = read_routes(settings().alerts)
    summarise(configured_lake(), AlertStore(settings().home), routes, dt.datetime.now(dt.UTC), context.log.info)


@dg.job(description="Yesterday's checks, what is open, what is fresh and what came in, as one message.")
def daily_alert_summary() -> None:
    say_daily_summary()
