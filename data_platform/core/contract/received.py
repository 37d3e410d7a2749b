"""Contracts that every ingested source shares: what a received line, a rejected line and a ledger entry look like.
Belongs here: those base contracts. Not here: any source's own fields, reading files."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from data_platform.core.contract.table import JsonObject, LogPosition, Personal, Table, column, contracts


class ReceivedLines(Table):
    """Base of raw tables: where each row came from, so that any row can be traced to the line that was received."""

    sorted = False
    kind = "ndjson"
    optional: ClassVar[bool] = False
    """Nothing is missing without it: what is compared with it is judged from its first day on (quality/connected)."""

    extra_fields: JsonObject | None = column("Fields of the line that the contract does not know, as a JSON object.")
    source_file: str = column("Landing file the line came from.")
    source_line: int = column("Line number in that file, from 1.", ge=1)
    received_at: dt.datetime = column("When the platform took in the file.")


class ReceivedChanges(ReceivedLines):
    """Base of raw change tables. Of changes of one row at one instant the later is the one with the larger sequence
    (any is later than none), then the one further down in its file, files by name and then by time of receipt."""

    sequence: LogPosition | None = column(
        "Position of the change in the application's log (log sequence number, version), a whole number or "
        "PostgreSQL's `16/B374D848`: orders changes of one transaction, which share `changed_at`."
    )


class RejectedLines(Table):
    """Base of raw rejected tables: lines that cannot be rows, verbatim, with the reason. Replayable after a fix."""

    profiled = False
    partition = "received_date"
    primary_key = ("received_date", "file_digest", "source_line")
    kind = "ndjson"

    received_date: dt.date = column("Day (UTC) the line was received.")
    file_digest: str = column("BLAKE2b digest of the file's content.")
    source_file: str = column("Landing file the line came from.")
    source_line: int = column("Line number in that file, from 1.", ge=1)
    reason: str = column("Reason code, for example `invalid_json` or `missing_player_id`.", min_length=1)
    line: str = column("The line as received; bytes that are no UTF-8 are shown as U+FFFD.", personal=Personal.CONTENT)
    line_bytes: bytes | None = column("The exact bytes, where the line is not valid UTF-8.", personal=Personal.CONTENT)
    source_position: int | None = column("Position of the line in its stream, for example its offset in Kafka.")
    received_at: dt.datetime = column("When the platform took in the file.")


class RejectedRows(Table):
    """Base of clean rejected tables: rows that were received but break a promise, with the reason."""

    profiled = False
    partition = "event_date"
    primary_key = ("event_date", "reason", "row_digest")

    event_date: dt.date = column("Day of the row, as in the raw table.")
    reason: str = column("Reason code, for example `conflicting_duplicate`.", min_length=1)
    row_digest: str = column("Digest of the rejected content: the same content is rejected once.")
    row: JsonObject = column("The rejected row as a JSON object.", personal=Personal.CONTENT)


class IngestionLedger(Table):
    """One row per landing file that was taken in: received = stored + rejected + withdrawn, always."""

    key = "raw/ingestion_ledger"
    partition = "received_date"
    primary_key = ("source", "file_digest", "batch")
    owner = "team:data-platform"
    kind = "ndjson"

    received_date: dt.date = column("Day (UTC) the file was taken in.")
    source: str = column("Landing folder, for example `player_events`.")
    file_digest: str = column("BLAKE2b digest of the file's content: the file's identity, whatever its name.")
    source_file: str = column("Name of the file.")
    bytes: int = column("Size of the file as it lay in landing.", unit="B", ge=0)
    received_lines: int = column("Lines in the file.", unit="lines", ge=0)
    stored_lines: int = column("Lines stored in the raw table.", unit="lines", ge=0)
    rejected_lines: int = column("Lines stored in the rejected table.", unit="lines", ge=0)
    withdrawn_lines: int | None = column("Lines that were taken out again, with the whole file.", unit="lines", ge=0)
    withdrawn_at: dt.datetime | None = column("When the file was taken out again.")
    first_day: dt.date | None = column("Earliest day among the stored lines.")
    last_day: dt.date | None = column("Latest day among the stored lines.")
    damage: str | None = column("What was wrong with the file as a whole, for example a gzip stream cut short.")
    stream: str | None = column(
        "Of a segment: the stream it is a stretch of, for example a partition of a Kafka topic."
    )
    generation: int | None = column("Of a segment: how often its stream was begun anew before.", ge=0)
    begin_position: int | None = column("Of a segment: where its stretch begins.", ge=0)
    end_position: int | None = column("Of a segment: the first position behind its stretch.", ge=0)
    batch: int = column("Number of the ingestion batch, per source.", ge=1)
    received_at: dt.datetime = column("When the platform took in the file.")


def sources_of_domain(table: type[Table]) -> list[type[Table]]:
    """What the domain of a table receives. Where none of it ever came, the domain is not there: a game without a shop
    has no shop's days, also none that only count its players."""
    domain = _domain(table)
    received = [other for other in contracts().values() if issubclass(other, ReceivedLines)]
    return [other for other in received if _domain(other) == domain]


def _domain(table: type[Table]) -> str:
    return table.__module__.partition(".contracts")[0]
