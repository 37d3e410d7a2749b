"""README's first hour followed to the letter: its shell blocks in order, in one shell, from a fresh home.
Not here: whether commands of other chapters parse (test_docs), the pages that `make ui` and `serve` open."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from data_platform.core.settings import PROJECT_ROOT
from data_platform_tests.cli.test_docs import FENCE

NOT_RUN = {
    "source .venv/bin/activate": "the test's own environment is in front of PATH",
    "data-platform serve": "serves until it is stopped (test_health_access runs it)",
}
"""Blocks that are left out, by a line in them, and why."""
SENSOR = "data-platform build"
"""What the sensor and the automation of `make ui` do after a file was dropped, as the chapter says."""


def first_hour() -> list[str]:
    text = (PROJECT_ROOT / "README.md").read_text()
    chapter = text[text.index("## A first hour") : text.index("## Where next")]
    blocks = [body for language, body in FENCE.findall(chapter) if language == "sh"]
    left = [block for block in blocks if not any(line in block for line in NOT_RUN)]
    assert len(blocks) - len(left) == len(NOT_RUN), "a block that is left out is gone, or there is another"
    return left


def test_the_first_hour_works_as_it_is_written(tmp_path: Path) -> None:
    script = []
    for block in first_hour():
        script.append(block + (SENSOR if "landing/player_events/" in block else ""))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATA_PLATFORM", "DAGSTER"))
    }
    environment["DATA_PLATFORM_HOME"] = str(tmp_path / "home")
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    printed = " ".join(told.stdout.split())
    found = re.search(r"Simulated: (.*?) rejected lines; these are (.*?) rejected ", printed)
    assert found, printed
    lines, events, rejected = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+\d", found[1]))
    assert lines == events + rejected
    assert events == sum(int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", found[2]))
    assert "me," in (tmp_path / "today.csv").read_text(), "the dropped player has features"
    assert "missing_player_id" in printed, "what was rejected is shown with its reason"
