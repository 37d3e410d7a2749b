"""README's first hour and then the guides, followed to the letter: their shell and Python blocks in order, in the home
that the first hour leaves behind.
Not here: whether commands of other pages parse (test_docs), the pages that `make ui` and `serve` open."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import polars as pl
import pytest

from data_platform.core.settings import PROJECT_ROOT
from data_platform_tests.cli.test_docs import FENCE

GUIDES = sorted((PROJECT_ROOT / "docs" / "guides").glob("*.md"))
NOT_RUN = {
    "source .venv/bin/activate": "the test's own environment is in front of PATH",
    "data-platform serve": "serves until it is stopped (test_health_access runs it)",
}
"""Blocks of the first hour that are left out, by a line in them, and why."""
SENSOR = "data-platform build"
"""What the sensor and the automation of `make ui` do after a file was dropped, as the chapter says."""
NEEDS = re.compile(r"^# needs (.+)$", re.MULTILINE)
"""What a block of a guide says in its first line when it needs more than this checkout: it is not run."""
FOREIGN = {
    "bi.md": ["a PostgreSQL server"],
    "month_end.md": ["a provider's bill, and a month that is over"],
    "features.md": ["feast[duckdb], in an environment of its own"],
    "production.md": ["a PostgreSQL server and an object store"],
    "reading_tables.md": ["Spark, with the delta-spark package of its version"],
    "streams.md": ["a cluster of Kafka"],
}
SERVED = "localhost:3002"


def first_hour() -> str:
    text = (PROJECT_ROOT / "README.md").read_text()
    chapter = text[text.index("## A first hour") : text.index("## Where next")]
    blocks = [body for language, body in FENCE.findall(chapter) if language == "sh"]
    left = [block for block in blocks if not any(line in block for line in NOT_RUN)]
    assert len(blocks) - len(left) == len(NOT_RUN), "a block that is left out is gone, or there is another"
    return "\n".join(block + (SENSOR if "landing/player_events/" in block else "") for block in left)


def blocks_of(guide: Path) -> list[tuple[str, str]]:
    """(language, text) of what a reader can run or type."""
    return [(kind, body) for kind, body in FENCE.findall(guide.read_text()) if kind in ("sh", "python")]


def script_of(guide: Path) -> str:
    """The guide as one shell script; Python blocks that follow each other are one session at the prompt."""
    here = [(language, body) for language, body in blocks_of(guide) if not NEEDS.match(body)]
    script = []
    for language, together in groupby(here, key=lambda block: block[0]):
        text = "\n".join(body for _, body in together)
        script.append(text if language == "sh" else f"python - <<'END_OF_PYTHON'\n{text}\nEND_OF_PYTHON")
    return "\n".join(script)


class Checkout:
    """A folder with what a reader has: examples, the dbt project, a home under its usual name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / ".data_platform_home"
        folder.mkdir()
        (folder / "examples").symlink_to(PROJECT_ROOT / "examples")
        shutil.copytree(PROJECT_ROOT / "dbt", folder / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("DATA_PLATFORM", "DAGSTER"))}
        self.environment = mine | {
            "DATA_PLATFORM_HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{mine['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }

    def follow(self, script: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    @contextmanager
    def served(self) -> Iterator[str]:
        """Where `data-platform serve` answers, on a port of its own."""
        command = ["data-platform", "serve", "--port", "0"]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert process.stdout
            found = re.search(r"http://([\w.]+:\d+)", process.stdout.readline())
            assert found
            yield found[1]
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_the_first_hour_and_then_the_guides_work_as_they_are_written(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    check_first_hour(checkout, checkout.follow(first_hour()))
    with checkout.served() as address:
        outputs = {guide.name: checkout.follow(script_of(guide).replace(SERVED, address)) for guide in GUIDES}
    for name, done in outputs.items():
        assert "Warning" not in done.stderr, f"{name}: {done.stderr}"
    check_guides(checkout, {name: done.stdout for name, done in outputs.items()})


def check_first_hour(checkout: Checkout, done: subprocess.CompletedProcess[str]) -> None:
    printed = " ".join(done.stdout.split())
    found = re.search(r"Simulated: (.*?) rejected lines; these are (.*?) rejected ", printed)
    assert found, printed
    lines, events, rejected = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+\d", found[1]))
    assert lines == events + rejected
    assert events == sum(int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", found[2]))
    for part in ("features/player_churn_features", "Where to look", "Dagster at"):
        assert part in printed, "the demo shows what was built and where to look"
    assert "me," in (checkout.folder / "today.csv").read_text(), "the dropped player has features"
    assert "missing_player_id" in printed, "what was rejected is shown with its reason"


def mapped_file() -> str:
    """The name that the guide shows; a digest of the file and the mapping."""
    found = re.search(r"kenya-\w+\.ndjson\.gz", (PROJECT_ROOT / "docs" / "guides" / "own_events.md").read_text())
    assert found
    return found[0]


def check_guides(checkout: Checkout, printed: dict[str, str]) -> None:
    """The facts that a reader is promised."""
    assert "Folded 50 events from the snapshot after event 100." in printed["research.md"]
    assert '"way": "hybrid"' in printed["research.md"], "there is a model, and the server has it"
    assert "acme saves" in printed["month_end.md"]
    assert "shared costs: 1200 EUR" in printed["month_end.md"]
    pulled = pl.read_parquet(checkout.folder / "features.parquet")
    assert pulled["total_events"].drop_nulls().len() > 10, "features of players there are, as of a day there is"
    answer = re.search(r'"features": (\{[^}]*\})', printed["features.md"])
    assert answer, printed["features.md"]
    assert json.loads(answer[1]).keys() == {"total_events", "level_ups"}
    assert '"player_id": "nobody", "found": false' in printed["features.md"]
    assert {"holds for: 7 days", "fresh within: 26 hours"} <= {
        " ".join(x.split()) for x in printed["features.md"].splitlines()
    }
    assert '"accepted": 1, "rejected": [{"index": 1, "reason": "missing_player_id"}]' in printed["streams.md"]
    assert "1 left out: no_model_call" in printed["metering.md"]
    assert "500 events: 500 sent" in printed["streams.md"]
    assert "Stats(tracked=1, sent=1, rejected=0, dropped=0, waiting=0" in printed["streams.md"]
    assert mapped_file() in printed["own_events.md"], "the same file and mapping land under the same name"
    assert "ann" in printed["own_events.md"], "the mapped player has features"
    assert (checkout.folder / "contracts").is_dir()
    assert (checkout.folder / "guilds" / "pyproject.toml").is_file()
    assert pl.read_parquet(checkout.folder / "churn.parquet").height > 100
    assert not (checkout.folder / ".env").exists()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_what_is_not_run_says_so_and_is_little(guide: Path) -> None:
    found = [NEEDS.match(body)[1] for _, body in blocks_of(guide) if NEEDS.match(body)]
    assert found == FOREIGN.get(guide.name, []), f"make it run here, or say in its first line what it needs: {found}"
    assert len(NEEDS.findall(guide.read_text())) == len(found), "`# needs …` belongs in the first line"


def test_dagster_warns_of_a_users_own_uses_of_beta_and_of_none_of_ours() -> None:
    code = """
import dagster as dg
from data_platform.core.contract.table import Table, column
from data_platform.core.orchestration.assets import asset

class Wins(Table):
    "Who won."

    key = "guilds/wins"
    primary_key = ("player_id",)
    owner = "team:guilds"
    player_id: str = column("Who.")

asset(Wins, lambda: None)
dg.AssetCheckSpec("mine", asset="wins", partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))
"""
    warned = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert re.findall(r"^(\S+): (\w+Warning)", warned, re.MULTILINE) == [("<string>:15", "PreviewWarning")], warned
