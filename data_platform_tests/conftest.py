"""Fixtures: a temporary platform home that the settings point to, and one first day for the whole test process.
Not here: helpers (homes.py). Tests of another first day run in a process of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from data_platform_tests.support.command_line import Run
    from data_platform_tests.support.homes import Home
    from data_platform_tests.support.watching import Inbox, Watch

# Assets are built at import with the first day of the settings, and no test may touch a real home: before any import.
NOBODYS_HOME = tempfile.mkdtemp(prefix="data-platform-test-without-home-")
atexit.register(shutil.rmtree, NOBODYS_HOME, ignore_errors=True)
os.environ["DATA_PLATFORM_HOME"] = NOBODYS_HOME
os.environ["DATA_PLATFORM_FIRST_DAY"] = "2024-01-01"
# A text takes the model 10 to 30 ms; tests of search name the model, the others build every table a dozen times.
os.environ["DATA_PLATFORM_EMBEDDINGS_MODEL"] = "none"
for name in ("DATA_PLATFORM_POSTGRES_URL", "DATA_PLATFORM_ANALYTICS_URL", "DATA_PLATFORM_LAKE_URL", "DAGSTER_HOME"):
    os.environ.pop(name, None)

# Homes of tests live in memory where there is room: each commit and each run waits for the disk, a tenth of the time.
# Some 400 MB at once; what a test that passed leaves behind goes at once (pyproject).
IN_MEMORY, ROOM_BYTES = Path("/dev/shm"), 8 << 30
if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))

# As every process of the platform writes: a home that others could read is closed and told of (test_private_files).
os.umask(0o077)

# Whoever takes the last file should take a short one: each of these takes 25 to 100 s, of the processor or of waiting.
LONGEST = (
    "cli/test_guides.py",
    "operations/test_pipeline.py",
    "operations/test_kill.py",
    "operations/test_plan.py",
    "core/orchestration/test_automation.py",
    "cli/test_cli.py",
    "core/lake/test_object_store.py",
    "operations/test_wheel.py",
    "core/instance/test_dagster_storage.py",
    "domains/churn/test_churn_model.py",
    "core/instance/test_daemon.py",
    "sources/test_replay_runs.py",
    "sources/test_withdrawal.py",
    "core/orchestration/test_scattered_days.py",
    "core/lake/test_concurrency.py",
    "sources/kafka/test_kills.py",
    "sources/postgres/test_capture_faults.py",
    "sources/http/test_collector_kills.py",
    "operations/test_contract_changes.py",
)

# How long an example takes to make says something of the machine, not of the code.
hypothesis.settings.register_profile("platform", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("platform")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An empty home that the settings of this process point to."""
    from data_platform_tests.support.homes import Home

    with Home(tmp_path / "home").used() as used:
        yield used


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`data-platform ARGUMENTS...` in this process."""
    from data_platform_tests.support.command_line import commands_of

    return commands_of(monkeypatch, capfd)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """Where alerts arrive: a real HTTP server."""
    from data_platform_tests.support.watching import open_inbox

    with open_inbox() as found:
        yield found


@pytest.fixture
def watched(home: Home, inbox: Inbox) -> Watch:
    """The home, with every alert routed to the inbox."""
    from data_platform_tests.support.watching import Watch, route, routes_file

    return Watch(home, routes_file(home, route(inbox.url)))


def _forget_tables_of_tests() -> None:
    """A contract is known to the whole process once its class exists; those that tests declare must not be counted."""
    from data_platform.core.contract import table as contract

    for key in [key for key in contract._CONTRACTS if key.startswith("testing/")]:
        del contract._CONTRACTS[key]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; all else in the order of the folders."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(LONGEST)))


def pytest_collection_finish() -> None:
    _forget_tables_of_tests()


@pytest.fixture(autouse=True)
def tables_of_tests_are_forgotten() -> Iterator[None]:
    yield
    _forget_tables_of_tests()


def pytest_configure(config: pytest.Config) -> None:
    """The platform knowingly uses what Dagster marks preview or beta; a warning per use would bury the rest."""
    for kind in ("PreviewWarning", "BetaWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::dagster.{kind}")
