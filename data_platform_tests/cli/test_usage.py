"""How commands ask: every one is named, and asks for the same thing in the same way.
Not here: what they do (test_cli)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
import typer

from data_platform import cli
from data_platform_tests.support.command_line import Run


def test_help_names_every_command(run: Run) -> None:
    output = run("--help")
    assert output.code == 0
    for command in ("simulate", "ingest", "build", "status", "table", "demo"):
        assert command in output.out
        shown = run(command, "--help")
        assert (shown.code, "Usage" in shown.out) == (0, True)


def parameters() -> Iterator[tuple[str, Any]]:
    """(command, parameter) of everything that can be said on the command line."""

    def within(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        for below, found in getattr(command, "commands", {}).items():
            yield from within(f"{name} {below}".strip(), found)
        if not hasattr(command, "commands"):
            yield from ((name, parameter) for parameter in command.params if parameter.name != "help")

    return within("", typer.main.get_command(cli.command_line()))


METAVARS = {
    "CHECK", "DAY", "DIR", "DISCUSSION", "DOMAIN", "FIELD=VALUE", "FILE", "FILE|SOURCE/FILE|SOURCE/BATCH", "HOST", "ID",
    "KEY", "KIND", "MOMENT", "MONTH", "NAME", "OFFSET|MOMENT", "PERSONA", "PROJECT", "REASON", "REV", "SCOPE", "SET",
    "SET|SET:FEATURE", "SOURCE", "STREAM", "SURVEY", "TABLE", "TABLE|GROUP", "TENANT", "TEXT", "TIME", "TIME|SEQ",
    "TOKEN", "URL", "WAY",
}  # fmt: skip
"""What stands for a value in every `--help`: one word for one thing."""


def test_every_command_asks_for_the_same_thing_in_the_same_way() -> None:
    metavars_of: dict[str, set[str]] = {}
    for command, parameter in parameters():
        where = f"{command} {parameter.name}"
        assert parameter.help, f"{where} says nothing of itself"
        assert parameter.help.endswith((".", "…")) or parameter.help.endswith("'."), f"{where}: {parameter.help}"
        kind = parameter.type_descriptor.annotation
        if kind not in (bool, int, float) and not (isinstance(kind, type) and issubclass(kind, StrEnum)):
            assert parameter.metavar in METAVARS, f"{where}: {parameter.metavar}"
        for name in parameter.opts:
            metavars_of.setdefault(name, set()).add(str(parameter.metavar))
    assert {name for name, metavars in metavars_of.items() if len(metavars) > 1} == {"--to", "--players", "name"}
    assert metavars_of["--to"] == {"DAY", "DIR"}
    assert metavars_of["--from"] == {"DAY"}
    assert metavars_of["--out"] == {"FILE"}


@pytest.mark.parametrize("command", ["status", "build", "features pull", "training-set list", "withdraw"])
def test_usage_marks_what_may_be_left_out_once(command: str, run: Run) -> None:
    assert "[[" not in run(*command.split(), "--help").out
