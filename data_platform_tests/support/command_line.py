"""`data-platform ARGUMENTS...` in the process of a test, and what its errors must look like.
Not here: commands in processes of their own (command, running)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data_platform import cli


@dataclass(frozen=True)
class Output:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Output]


def commands_of(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The fixture `run`."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str | Path) -> Output:
        monkeypatch.setattr(sys, "argv", ["data-platform", *map(str, arguments)])
        cli._debug.clear()
        capfd.readouterr()
        try:
            cli.command()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capfd.readouterr()
        return Output(code, captured.out, captured.err)

    return run


def assert_one_paragraph(output: Output, *parts: str) -> None:
    assert output.code == 1, output
    assert "Traceback" not in output.err + output.out
    assert "\n\n" not in output.err.strip()
    assert output.err.strip()
    for part in parts:
        assert part in " ".join(output.err.split()), output.err
