"""`feast apply`, then questions to a real Feast, in Feast's own environment: `python feast_asking.py REPOSITORY JOBS`.
It imports nothing of ours. Not here: any assertion."""

import json
import sys

import pandas as pd
import pyarrow.parquet as pq
from feast import FeatureStore
from feast.cli.cli import cli


def main(repository: str, jobs: str) -> None:
    """A job: files of entities and answer, features, and what else Feast's verb takes. Prints the views."""
    cli(["--chdir", repository, "apply"], standalone_mode=False)
    store = FeatureStore(repository)
    with open(jobs) as file:
        for job in json.load(file):
            entities, answer = pd.read_parquet(job.pop("entities")), job.pop("answer")
            pq.write_table(store.get_historical_features(entities, **job).to_arrow(), answer)
    views = {
        view.name: {
            "ttl": view.ttl.total_seconds(),
            "owner": view.owner,
            "description": view.description,
            "tags": dict(view.tags),
            "join_keys": view.join_keys,
            "features": {one.name: [str(one.dtype), one.description, dict(one.tags)] for one in view.features},
        }
        for view in store.list_feature_views()
    }
    print(json.dumps(views))


if __name__ == "__main__":
    main(*sys.argv[1:])
