"""What a company installs: a wheel that holds what git holds and works where there is no checkout, and a domain of its
own beside it, found without an edit of ours. Not here: what either computes."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_platform.core.settings import PROJECT_ROOT

SHIPPED = {
    "dbt/": "data_platform/shipped/dbt/",
    "examples/": "data_platform/shipped/examples/",
    "docs/runbook.md": "data_platform/shipped/docs/runbook.md",
    "dagster.yaml": "data_platform/shipped/dagster.yaml",
    "workspace.yaml": "data_platform/shipped/workspace.yaml",
}
"""What is read beside the code, and where a wheel has it."""


ASSETS = """
from data_platform.definitions import defs
print(*("/".join(key.path) for key in defs.resolve_asset_graph().get_all_asset_keys()))
"""


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, no checkout in reach, and our libraries."""

    python: Path
    user: Path

    def run(self, *command: str | Path, folder: Path | None = None, **variables: str) -> str:
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("DATA_PLATFORM", "PYTHON"))}
        environment: Mapping[str, str] = {
            **bare,
            "HOME": str(self.user),
            "PATH": f"{self.python.parent}:{bare['PATH']}",
            **variables,
        }
        done = subprocess.run(
            list(map(str, command)), cwd=folder or self.user, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def files_of_git() -> list[str]:
    """Tracked files and those about to be, as they are in the folder; without git, all there are."""
    asked = ["git", "ls-files", "-co", "--exclude-standard", "data_platform", *SHIPPED]
    listed = subprocess.run(asked, cwd=PROJECT_ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [name for name in listed.stdout.splitlines() if (PROJECT_ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git holds: what lies about in the folder besides is not shipped by accident."""
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in (*files_of_git(), "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT_ROOT / name, source / name)
    asked = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    # Libraries come from this environment; its own .pth file, which leads to our checkout, is not followed from here.
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    # So does dbt's command, which pip would have put here with it.
    command = "import sys; from dbt.cli.main import cli; sys.exit(cli())"
    (python.parent / "dbt").write_text(f'#!/bin/sh\nexec {python} -c "{command}" "$@"\n')
    (python.parent / "dbt").chmod(0o755)
    user = tmp_path_factory.mktemp("user")
    found = Installed(python, user)
    found.run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    return found


def test_the_wheel_holds_what_git_holds(wheel: Path) -> None:
    def place(name: str) -> str:
        return next((to + name.removeprefix(of) for of, to in SHIPPED.items() if name.startswith(of)), name)

    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {place(name) for name in files_of_git()}


def test_the_demo_runs_from_the_wheel(installed: Installed) -> None:
    where = installed.run(installed.python, "-c", "import data_platform; print(data_platform.__file__)")
    assert Path(where.strip()).is_relative_to(installed.python.parents[1]), "that was the checkout"
    begun = dt.datetime.now(dt.UTC).date()
    output = installed.run("data-platform", "demo", "--players", "20", "--days", "3")
    for part in ("features/player_churn_features", "Where to look", "dagster", "Simulated:"):
        assert part.lower() in output.lower()
    days = {str(day - dt.timedelta(days=1)) for day in (begun, dt.datetime.now(dt.UTC).date())}  # it may be midnight
    assert any(day in output for day in days)
    assert (installed.user / ".data_platform_home" / "lake" / "commerce" / "fct_orders").is_dir(), "dbt is shipped too"
    status = json.loads(installed.run("data-platform", "status", "--json"))
    assert status


def test_a_domain_of_ones_own_runs_beside_ours(installed: Installed, tmp_path: Path) -> None:
    """The commands that `new` prints and its README has, in order."""
    folder, home = tmp_path / "guilds", str(tmp_path / "home")
    installed.run("data-platform", "new", "guilds", "--to", folder)
    pip = (installed.python, "-m", "pip")
    installed.run(*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ".", folder=folder)
    try:
        assert "1 passed" in installed.run(installed.python, "-m", "pytest", "-p", "no:cacheprovider", folder=folder)
        block = re.search(r"```bash\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        assert block is not None
        commands = [line for line in block[1].splitlines() if not line.startswith(("pip", "pytest", "dagster dev"))]
        output = installed.run("bash", "-ec", "\n".join(commands), folder=folder, DATA_PLATFORM_HOME=home)
        assert re.search(r"2024-01-01 +won +2 +2 *\n", output), output
        installed.run("data-platform", "simulate", "--players", "9", "--days", "1", "--to", tmp_path / "simulated")
        assert [*(tmp_path / "simulated" / "guilds_events").iterdir()], "it takes part in the simulation"
        keys = installed.run(installed.python, "-W", "ignore", "-c", ASSETS, DATA_PLATFORM_HOME=home).split()
        assert {"guilds/daily_totals", "raw/guilds_events", "gameplay/player_sessions"} <= {*keys}
    finally:
        installed.run(*pip, "uninstall", "--quiet", "--yes", "guilds")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gameplay", "a group of tables called gameplay"),
        ("polars", "a Python package called polars"),
        ("9x", "cannot be called 9x"),
        ("class", "cannot be called class"),
        ("../x", "cannot be called ../x"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, said: str, tmp_path: Path) -> None:
    from data_platform.core.errors import PlatformError
    from data_platform.operations.domains import write_domain

    with pytest.raises(PlatformError, match=said):
        write_domain(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    from data_platform.core.errors import PlatformError
    from data_platform.operations.domains import write_domain

    (tmp_path / "kept").write_text("mine")
    with pytest.raises(PlatformError, match="is not empty"):
        write_domain("guilds", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_entry_point_that_names_no_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from data_platform.core import packages
    from data_platform.core.errors import PlatformError

    broken = EntryPoint("guilds", "no_such_package", packages.DOMAINS)
    monkeypatch.setattr(packages, "entry_points", lambda group: [broken])
    packages.packages.cache_clear()
    try:
        with pytest.raises(PlatformError, match=r"guilds.* is to be in no_such_package, which is no package"):
            packages.packages()
    finally:
        packages.packages.cache_clear()
