"""Folders for the time of one piece of work do not stay behind. Not here: what is done in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from data_platform.core.scratch import scratch_folder

WAITS = """
import sys, pathlib
from data_platform.core.scratch import scratch_folder
with scratch_folder("work-", pathlib.Path(sys.argv[1])) as folder:
    (folder / "half").write_text("done")
    print(folder, flush=True)
    sys.stdin.read()
"""


def waiting(base: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process at work in a folder of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(base)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_folder_goes_with_its_work_also_when_that_fails(tmp_path: Path) -> None:
    def work() -> None:
        with scratch_folder("work-", tmp_path) as folder:
            (folder / "half").write_text("done")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_folder_and_nobody_elses_does(tmp_path: Path) -> None:
    (tmp_path / "other-1").mkdir()
    (tmp_path / "work-of-mine").symlink_to(tmp_path / "other-1")
    killed, left = waiting(tmp_path)
    alive, held = waiting(tmp_path)
    killed.kill()
    killed.wait()
    assert left.exists()
    with scratch_folder("work-", tmp_path) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, held.name, "other-1", "work-of-mine"}
        assert (held / "half").exists()
    alive.communicate()
    assert alive.returncode == 0
    assert not held.exists()


def test_parsing_that_was_killed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.warehouse import manifest

    temporary, kept = tmp_path / "temporary", tmp_path / "kept"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    (temporary / "data-platform-dbt-killed").mkdir()
    manifest.parse(manifest.PROJECT, kept)
    assert not list(temporary.iterdir())
    assert {path.name for path in kept.iterdir()} == {manifest.MANIFEST, manifest.PARSED}
