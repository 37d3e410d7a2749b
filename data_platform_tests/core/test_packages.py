"""What an installed domain gets wrong, told as one sentence that names it. Not here: what its modules declare."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import dagster as dg
import pytest

from data_platform.core import discovery, packages
from data_platform.core.errors import PlatformError
from data_platform.core.lake.store import Lake
from data_platform.observability import runbook
from data_platform.observability.alerts.problems import look
from data_platform.sources.files.shapes import shapes

CACHED = (packages.packages, discovery.know_contracts, discovery.landing_sources, discovery.notices, discovery.queries)
TABLE = '''
"""Tables."""
from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import column
import datetime as dt

class Theirs(ReceivedLines):
    """A table that has a name of ours."""
    key = "gameplay/daily_metrics"
    partition = "day"
    primary_key = ("day",)
    owner = "team:them"
    day: dt.date = column("Day.")
'''
NOTICES = """
from data_platform.core.contract.notices import Notice
from data_platform.domains.gameplay.contracts.activity import DailyMetrics
NOTICES = (Notice("budget", DailyMetrics, lambda rows, today: (), "Look.", "alerts"),)
"""
SOURCES = """
from data_platform.domains.gameplay.sources import SOURCES
"""

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module of an installed domain, and has nobody know anything yet."""
    from data_platform.core.contract import table

    folder = tmp_path / "domain_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint("guilds", folder.name, packages.DOMAINS)
    monkeypatch.setattr(packages, "entry_points", lambda group: [entry])
    monkeypatch.setattr(table, "_CONTRACTS", dict(table._CONTRACTS))

    def written(module: str, text: str) -> None:
        (folder / f"{module}.py").write_text(text)
        for cached in CACHED:
            cached.cache_clear()

    yield written
    for cached in CACHED:
        cached.cache_clear()
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def test_what_stops_a_domain_names_it_and_how_to_do_without(write: Write) -> None:
    write("contracts", "from polars import no_such_thing")
    with pytest.raises(
        PlatformError, match=r"“guilds” cannot be loaded: domain_of_a_test\.contracts stops with Import"
    ):
        discovery.know_contracts()
    write("contracts", TABLE.replace("day: dt.date", "kind: dt.date"))
    with pytest.raises(PlatformError, match=r"kind: .*name the column otherwise.*--debug.* `pip uninstall guilds`"):
        discovery.know_contracts()


@pytest.mark.parametrize(
    ("module", "text", "known", "said"),
    [
        ("contracts", TABLE, discovery.know_contracts, "Two tables are called gameplay/daily_metrics"),
        ("notices", NOTICES, discovery.notices, "Two notices are called budget"),
        ("sources", SOURCES, discovery.landing_sources, "Two landing sources are called players"),
        ("shapes", "from data_platform.domains.metering.shapes import SHAPES", shapes, "Two shapes are called"),
    ],
)
def test_a_name_that_is_taken_hides_nothing(
    write: Write, module: str, text: str, known: Callable[[], object], said: str
) -> None:
    write(module, text)
    with pytest.raises(PlatformError, match=rf"{said}.* Rename that of domain_of_a_test\.{module}"):
        known()


def test_a_notice_does_not_take_the_place_of_failed_checks(write: Write, tmp_path: Path) -> None:
    write("notices", NOTICES.replace("budget", "check"))
    lake, now = Lake(str(tmp_path / "lake")), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(PlatformError, match="notice check has the name"):
        look(lake, instance, (), now)


@pytest.mark.parametrize("text", ["", "QUERIES = None"])
def test_a_module_that_declares_nothing_says_what_to_write(write: Write, text: str) -> None:
    write("queries", text)
    with pytest.raises(PlatformError, match=r"domain_of_a_test\.queries has no QUERIES .* Write QUERIES = \(…,\)"):
        discovery.queries()


def test_a_domain_has_a_runbook_of_its_own(write: Write, tmp_path: Path) -> None:
    write("notices", "")
    text = "# Guilds\n\n## Alert: a guild is empty\n\nAsk its [owner](#alerts).\n\n## Alerts\n\nNot ours.\n"
    (tmp_path / "domain_of_a_test" / "runbook.md").write_text(text)
    known = runbook.sections()
    assert known["alert-a-guild-is-empty"].body.strip() == "Ask its [owner](#alerts)."
    assert known["alerts"].file == "docs/runbook.md", "a heading that stands there keeps its place"
    assert runbook.address("alert-a-guild-is-empty") == "domain_of_a_test/runbook.md#alert-a-guild-is-empty"
