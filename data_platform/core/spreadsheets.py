"""CSV that people open in a spreadsheet: data must not become formulas there.
Belongs here: how text is written into CSV exports. Not here: writing files, CSV that a database loads."""

from __future__ import annotations

from typing import TypeVar

import polars as pl

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
FORMULA = "^[=+\\-@\t\r\n＝＋－＠]"
"""How a cell begins that Excel, LibreOffice or Google Sheets computes (OWASP: CSV injection)."""


def without_formulas(frame: Frame) -> Frame:
    """The frame with an apostrophe before every text that a spreadsheet would compute; numbers stay numbers."""
    text = pl.col(pl.String)
    return frame.with_columns(pl.when(text.str.contains(FORMULA)).then("'" + text).otherwise(text).name.keep())
