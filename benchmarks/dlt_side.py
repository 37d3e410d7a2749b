"""dlt's side of the comparison, in dlt's own environment: `python -I dlt_side.py JSON` prints one JSON line.
It imports nothing of ours. Not here: what is compared with it (dlt_load)."""

import contextlib
import json
import os
import sys

SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "100000",  # files that two processes can normalise side by side
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "NORMALIZE__WORKERS": "2",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
}


def main(landing: str, folder: str, table: str) -> dict[str, object]:
    """Load every file of a landing folder into a DuckDB of `folder`; rows that are there then, seconds of the steps."""
    os.environ.update(SETTINGS, DLT_DATA_DIR=folder, DLT_PROJECT_DIR=folder)
    import dlt
    import duckdb
    from dlt.sources.filesystem import filesystem, read_jsonl

    database = os.path.join(folder, "loaded.duckdb")
    pipeline = dlt.pipeline(
        "landing", pipelines_dir=folder, destination=dlt.destinations.duckdb(database), dataset_name="raw"
    )
    lines = (filesystem(bucket_url=f"file://{landing}", file_glob="*.gz") | read_jsonl(chunksize=20_000)).with_name(
        table
    )
    lines.max_table_nesting = 0
    pipeline.run(lines, loader_file_format="parquet")
    steps = {one.step: (one.finished_at - one.started_at).total_seconds() for one in pipeline.last_trace.steps}
    with duckdb.connect(database, read_only=True) as loaded:
        (rows,) = loaded.execute(f"SELECT count(*) FROM raw.{table}").fetchone()  # noqa: S608  our own table
    return {"rows": rows, "steps": steps, "version": dlt.__version__}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = main(**json.loads(sys.argv[1]))
    print(json.dumps({"result": result}), flush=True)
