"""Order lines of a real shop as days of `commerce/fct_order_items`: what nobody here made up.
Not here: what is broken of it (shop_faults). The data is no part of the project; a folder of one CSV a day is given."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import polars as pl

from data_platform.domains.commerce.contracts.star import FctOrderItems

FOLDER = "BENCHMARK_SHOP_DATA"
"""Environment variable: the folder of UCI's Online Retail, cut by day (columns InvoiceNo, StockCode, Quantity, ...)."""

_LINES = """
    SELECT
        InvoiceDate::TIMESTAMP::DATE AS order_date,
        md5(concat_ws('|', InvoiceNo, StockCode, Quantity, UnitPrice, InvoiceDate, Description)) AS order_item_id,
        InvoiceNo AS order_id,
        StockCode AS product_id,
        NULL AS product_key,
        regexp_replace(CustomerID, '[.]0$', '') AS user_id,
        CASE WHEN InvoiceNo LIKE 'C%' THEN 'return' ELSE 'sale' END AS order_type,
        abs(Quantity::BIGINT) AS quantity,
        'GBP' AS currency,
        UnitPrice::DECIMAL(18, 2) AS unit_price,
        abs(Quantity::BIGINT) * UnitPrice::DECIMAL(18, 2) AS amount,
        Quantity::BIGINT * UnitPrice::DECIMAL(18, 2) AS revenue,
        InvoiceDate::TIMESTAMP AT TIME ZONE 'Europe/London' AS ordered_at
    FROM read_csv($files, all_varchar = true, union_by_name = true)
    WHERE (InvoiceNo LIKE 'C%') = (Quantity::BIGINT < 0)
    QUALIFY row_number() OVER (PARTITION BY order_item_id) = 1
    ORDER BY order_date, order_item_id
"""


def shop_folder() -> Path | None:
    """The folder that was given; None without one."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else None


def shop_lines(folder: Path) -> pl.DataFrame:
    """Every line once, on the shop's own day. Raises FileNotFoundError for a folder without CSV files."""
    files = sorted(map(str, folder.glob("*.csv")))
    if not files:
        raise FileNotFoundError(f"no CSV file in {folder}: {FOLDER} names the folder of the shop's days")
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        found: pl.DataFrame = pl.from_arrow(db.sql(_LINES, params={"files": files}).to_arrow_table())  # type: ignore[assignment]
    return found.select(FctOrderItems.schema().keys()).cast(FctOrderItems.schema())  # type: ignore[arg-type]
