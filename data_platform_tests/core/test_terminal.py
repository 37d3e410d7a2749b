"""What reaches a terminal or a spreadsheet is text, whatever the data holds.
Not here: what commands print (test_cli)."""

from __future__ import annotations

import io
import time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from rich.table import Table as Grid
from rich.text import Text

from data_platform.core import terminal
from data_platform.core.spreadsheets import without_formulas
from data_platform.core.terminal import PlainConsole, busy, progress

HOSTILE = {
    "colours": "\x1b[31mred\x1b[0m",
    "clears the screen": "\x1b[2J\x1b[H",
    "sets the title": "\x1b]0;owned\x07",
    "copies to the clipboard": "\x1b]52;c;cm0gLXJm\x1b\\",
    "one-byte sequences": "\x9b31m\x90\x9c",
    "turns the direction": "\u202egnp.exe\u2066",
    "overwrites the line": "good\rbad\b\b",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("terminal", [True, False])
def test_data_is_shown_and_not_obeyed(kind: str, terminal: bool) -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=terminal, highlight=False, width=200, no_color=True)
    grid = Grid("column", HOSTILE[kind], box=None)
    grid.add_row("a", Text(HOSTILE[kind]))
    for shown in (HOSTILE[kind].replace("[", "\\["), Text(f"There is no table {HOSTILE[kind]}."), grid):
        console.print(shown)
    printed = file.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")  # the grid's bold heading is ours
    assert not {"\x1b", "\x07", "\x08", "\r", "\x9b", "\x90", "\x9c", "\u202e", "\u2066"} & set(printed)


def test_colours_and_line_breaks_of_our_own_go_through() -> None:
    file = io.StringIO()
    PlainConsole(file=file, force_terminal=True, width=80).print(Text("bad", "bold red"), Text("one\ntwo żółć"))
    assert "\x1b[1;31mbad" in file.getvalue()
    assert "one\ntwo żółć" in file.getvalue()


def test_text_that_a_spreadsheet_would_compute_gets_an_apostrophe_and_nothing_else_changes(tmp_path: Path) -> None:
    texts = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "＝1", "plain", "a=b", "", None]
    frame = pl.DataFrame({"id": texts, "n": range(-5, 6), "money": [Decimal("-1.50")] * 11})
    written = without_formulas(frame)
    assert written["id"].to_list() == [f"'{t}" for t in texts[:7]] + ["plain", "a=b", "", None]
    assert written.drop("id").equals(frame.drop("id"))
    assert without_formulas(frame.lazy()).collect().equals(written)


@pytest.mark.parametrize("counted", [True, False])
def test_a_line_moves_every_second_and_says_what_is_done(monkeypatch: pytest.MonkeyPatch, counted: bool) -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, highlight=False, width=100, no_color=True)
    monkeypatch.setattr(terminal, "err", console)
    with progress("reading", 5, "rows") if counted else busy("reading") as say:
        say("reading orders.csv", 1) if counted else say("reading orders.csv")
        time.sleep(2.2)
    printed = file.getvalue()
    for second in ("0:00:00", "0:00:01", "0:00:02"):
        assert second in printed
    assert "reading orders.csv" in printed
    assert ("1/5 rows" in " ".join(printed.split())) is counted


def test_a_pipe_gets_a_line_at_times_and_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "err", PlainConsole(file=file, highlight=False, width=100))
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.05)
    with busy("joining") as say:
        say("joining features")
        time.sleep(0.3)
    assert {*file.getvalue().splitlines()} == {"joining features, 0 s"}
