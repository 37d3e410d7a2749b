"""What a day of calls costs, as somebody would write it by hand in SQL for DuckDB: read, count once, price, sum up.
Not here: what a platform adds: judging rows, keeping what was received, doing it again when a price changes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb

READ = """
CREATE TEMP TABLE reports AS SELECT * FROM read_json($calls, format = 'newline_delimited', columns = {
  usage_id: 'VARCHAR', tenant_id: 'VARCHAR', project_id: 'VARCHAR', user_id: 'VARCHAR', feature: 'VARCHAR',
  provider: 'VARCHAR', model: 'VARCHAR', started_at: 'TIMESTAMPTZ', duration_ms: 'BIGINT', status: 'VARCHAR',
  request_id: 'VARCHAR', input_tokens: 'BIGINT', cache_read_tokens: 'BIGINT', output_tokens: 'BIGINT',
  reasoning_tokens: 'BIGINT'})
"""
ONCE = """
CREATE TEMP TABLE calls AS SELECT *, input_tokens + cache_read_tokens AS prompt FROM reports
WHERE least(input_tokens, cache_read_tokens, output_tokens, reasoning_tokens) >= 0
QUALIFY row_number() OVER (
  PARTITION BY tenant_id, request_id
  ORDER BY input_tokens + cache_read_tokens + output_tokens + reasoning_tokens DESC, (status = 'ok') DESC, usage_id
) = 1
"""
PRICES = """
CREATE TEMP TABLE prices AS
SELECT provider, model, coalesce(from_input_tokens, 0) AS step,
  lead(from_input_tokens, 1, 1000000000000000) OVER (
    PARTITION BY provider, model ORDER BY from_input_tokens) AS next_step,
  input, cache_read, output, reasoning
FROM (PIVOT (SELECT provider, model, from_input_tokens, token_class,
    unit_price::DECIMAL(18, 8) * 0.000001::DECIMAL(7, 6) AS price
  FROM read_json($prices, format = 'newline_delimited'))
  ON token_class IN ('input', 'cache_read', 'output', 'reasoning') USING first(price))
"""
COSTS = """
COPY (SELECT usage_id, tenant_id, project_id, user_id, feature, started_at, c.provider, c.model, status,
    input_tokens, cache_read_tokens, output_tokens, reasoning_tokens,
    input_tokens::DECIMAL(13, 0) * input + cache_read_tokens::DECIMAL(13, 0) * cache_read AS input_cost,
    output_tokens::DECIMAL(13, 0) * output + reasoning_tokens::DECIMAL(13, 0) * reasoning AS output_cost,
    input_cost + output_cost AS cost
  FROM calls c LEFT JOIN prices p
    ON c.provider = p.provider AND c.model = p.model AND c.prompt >= p.step AND c.prompt < p.next_step
  ORDER BY tenant_id, started_at
) TO '{folder}/usage_costs.parquet' (COMPRESSION zstd, COMPRESSION_LEVEL 1)
"""
DAILY = """
COPY (SELECT tenant_id, project_id, feature, provider, model, user_id, count(*) AS calls, sum(cost) AS cost
  FROM '{folder}/usage_costs.parquet' GROUP BY ALL
) TO '{folder}/tenant_daily_costs.parquet' (COMPRESSION zstd, COMPRESSION_LEVEL 1)
"""


def priced_by_hand(calls: str, prices: str, folder: str, threads: int = 2) -> dict[str, Any]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with duckdb.connect(config={"threads": threads}) as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(READ, {"calls": calls})
        database.execute(ONCE)
        database.execute(PRICES, {"prices": prices})
        database.execute(COSTS.replace("{folder}", folder))
        database.execute(DAILY.replace("{folder}", folder))
    return {"seconds": time.perf_counter() - began}
