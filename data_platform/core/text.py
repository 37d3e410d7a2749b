"""What counts as text that says something. The same expression for Polars and DuckDB, so that ingestion and transforms
agree. Not here: any field's rule."""

from __future__ import annotations

import polars as pl

VISIBLE = (
    r"[^\p{Z}\p{Cc}\p{Cf}"
    r"\x{034F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2065}\x{2800}\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}"
    r"\x{FFF0}-\x{FFFB}\x{E0000}-\x{E0FFF}]"
)
"""A character that shows: no blank, control or format character (zero width, byte order mark, soft hyphen, direction
marks), nor what Unicode calls default-ignorable. A text without one is missing, however long it is."""


def says_something(name: str) -> pl.Expr:
    """True where the text has a visible character; false where it is blank or null."""
    return pl.col(name).str.contains(VISIBLE).fill_null(False)
