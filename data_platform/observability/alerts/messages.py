"""What an alert says, as plain text that no data can disguise.
Belongs here: wording. Not here: when something is said (episodes), to whom (delivery)."""

from __future__ import annotations

import datetime as dt
import unicodedata
from dataclasses import dataclass

from data_platform.core.contract.calendar import minute_text
from data_platform.observability.alerts.episodes import Notification, Reason
from data_platform.observability.alerts.problems import PLATFORM, Level, Problem, first_step, span_text
from data_platform.observability.runbook import address

LONGEST_TEXT = 300
LONGEST_KEY = 80
# Chat services read <@name>, <!channel> and @everyone as calls to people.
NO_MENTIONS = str.maketrans({"<": "‹", ">": "›", "@": "＠"})
OPENINGS = {
    Reason.OPENED: "",
    Reason.ROSE: "worse: ",
    Reason.BACK: "back: ",
    Reason.STILL: "still there after a mute: ",
    Reason.REMINDER: "still there: ",
    Reason.RECOVERED: "recovered: ",
}


@dataclass(frozen=True)
class Message:
    """Something to send. The same `id` is sent once to each channel, whoever asks for it."""

    id: str
    level: Level
    owner: str
    title: str
    body: str
    good_news: bool = False


def of_notification(said: Notification, dagster_url: str) -> Message:
    """Title and body of an alert or recovery."""
    problem, episode = said.episode.problem, said.episode
    recovered = said.reason == Reason.RECOVERED
    label = "ok" if recovered else problem.level
    lasted = span_text((episode.closed_at if recovered and episode.closed_at else said.at) - problem.since)
    lines = [f"What: {plain(problem.what)}"]
    if recovered:
        lines = [
            f"Recovered: after {lasted}; it was seen in {episode.count:,} looks.",
            f"What it was: {plain(problem.what)}",
        ]
    lines += [f"Since: {minute_text(problem.since)} ({lasted})", f"Owner: {problem.owner}"]
    if not recovered:
        if problem.failed_rows or problem.sample:
            keys = "; ".join(plain(key, LONGEST_KEY) for key in problem.sample)
            lines.append(f"Failing rows: {problem.failed_rows:,}" + (f", for example {keys}" if keys else ""))
        if first := first_step(problem):
            lines.append(f"First step: {first[0]} {address(first[1])}")
    lines.append(f"Link: {link(problem, dagster_url)}")
    lines.append(f"Key: {plain(problem.key)}")
    return Message(
        id=f"{problem.key} {episode.opened_at.isoformat()} {said.reason} {said.at.isoformat()}",
        level=said.level,
        owner=problem.owner,
        title=f"[{label}] {OPENINGS[said.reason]}{plain(problem.title, 120)}",
        body="\n".join(lines),
        good_news=recovered,
    )


def of_test(name: str, now: dt.datetime) -> Message:
    body = f"This is a test of the route {plain(name)} at {minute_text(now)}. Nothing is wrong."
    return Message(f"test {now.isoformat()}", Level.INFO, PLATFORM, "[test] data platform alerts", body, True)


def link(problem: Problem, dagster_url: str) -> str:
    """Where Dagster shows it: the asset, else the run, else the front page."""
    base = dagster_url.rstrip("/")
    if problem.asset:
        return f"{base}/assets/{problem.asset}"
    return f"{base}/runs/{problem.run_id}" if problem.run_id else base


def plain(text: str, most: int = LONGEST_TEXT) -> str:
    """One line without control, direction or invisible characters, without mentions, cut to `most` characters."""
    shown = "".join(" " if c in "\n\t" else "�" if unicodedata.category(c)[0] == "C" else c for c in text)
    shown = " ".join(shown.split()).translate(NO_MENTIONS)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
