"""Feast's side of the comparison, in Feast's own environment: `python -I feast_side.py JSON` prints one JSON line.
It imports nothing of ours. Not here: what is compared with it (feast_join)."""

import contextlib
import json
import os
import sys
import time
import warnings


def main(repository: str, entities: str, features: list[str], to: str) -> float:
    """Seconds from the file of entities to the file of results; imports and `feast apply` are left out."""
    import pandas as pd
    import pyarrow.parquet as pq
    from feast import FeatureStore
    from feast.cli.cli import cli

    cli(["--chdir", repository, "apply"], standalone_mode=False)
    os.chdir(os.path.dirname(to))  # DuckDB puts what does not fit into memory where it is started
    store = FeatureStore(repository)
    begun = time.perf_counter()
    asked = store.get_historical_features(pd.read_parquet(entities), features=features)
    pq.write_table(asked.to_arrow(), to)
    return time.perf_counter() - begun


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        seconds = main(**json.loads(sys.argv[1]))
    print(json.dumps({"result": {"seconds": seconds}}), flush=True)
