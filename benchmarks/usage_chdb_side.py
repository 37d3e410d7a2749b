"""ClickHouse's side of the comparison, in chdb's own environment: `python -I usage_chdb_side.py JSON` prints one JSON
line. It imports nothing of ours. Not here: the questions (usage_server), what is compared (usage)."""

import contextlib
import json
import sys
import time


def main(files: str, questions: dict[str, str], rounds: int) -> dict[str, object]:
    """Each question of the files that a glob names, asked so many times: the best time, and what it says as text."""
    import chdb
    from chdb import session

    asked = session.Session()
    asked.query("SET max_threads = 2")
    asked.query(f"CREATE VIEW calls AS SELECT * FROM file('{files}', 'Parquet')")  # noqa: S608  our own files
    answers = {}
    for name, query in questions.items():
        seconds = []
        for _ in range(rounds):
            begun = time.perf_counter()
            text = asked.query(query, "JSONCompactStringsEachRow").data()
            seconds.append(time.perf_counter() - begun)
        answers[name] = {"seconds": min(seconds), "rows": [json.loads(line) for line in text.splitlines()]}
    return {"answers": answers, "version": chdb.__version__, "engine": chdb.engine_version}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = main(**json.loads(sys.argv[1]))
    print(json.dumps({"result": result}), flush=True)
