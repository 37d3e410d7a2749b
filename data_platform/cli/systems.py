"""What `status` says of the systems that are read, and of the workers that read them. Not here: the tables."""

from __future__ import annotations

import datetime as dt

from rich.text import Text

from data_platform.core.errors import counted
from data_platform.core.settings import settings
from data_platform.core.terminal import out
from data_platform.sources.worker_state import SectionState, WorkerState, section_states, worker_states


def tell_systems() -> None:
    """One line per living worker and one per system; nothing where none was ever configured."""
    workers = worker_states(settings().worker)
    for worker in workers:
        _tell_worker(worker)
    for title, section in sorted(section_states(settings().worker).items()):
        out.print(_system(title, section))
    if not workers and settings().sources:
        out.print(
            "No worker lives: runs read the systems every five minutes. [bold]data-platform worker[/bold] does at once."
        )


def _tell_worker(worker: WorkerState) -> None:
    since = worker.started_at.strftime("%Y-%m-%d %H:%M")
    out.print(f"worker since {since} UTC: {counted(worker.lines, 'line')} taken in")
    for problem in filter(None, (worker.ingestion_problem, worker.dagster_problem)):
        out.print(Text("  ✗ ", "red") + Text(problem))


def _system(title: str, section: SectionState) -> Text:
    if section.problem is not None:
        since = f"{section.problem_since:%H:%M} UTC" if section.problem_since else "its start"
        return Text("✗ ", "red") + Text(f"{title}: not read since {since}: {section.problem}")
    if section.looked_at is None:
        return Text(f"… {title}: not read yet")
    lags = [one.lag for one in section.streams if one.lag is not None]
    watermarks = [one.watermark for one in section.streams if one.watermark is not None]
    parts = [counted(len(section.streams), "stream")]
    parts += [f"lag {sum(lags):,}"] if lags else []
    parts += [f"newest {_ago(max(watermarks))}"] if watermarks else []
    return Text("✓ ", "green") + Text(f"{title}: {', '.join(parts)}")


def _ago(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
