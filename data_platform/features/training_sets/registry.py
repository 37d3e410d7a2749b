"""Where training sets are kept: `<lake>/training_sets/<name>/<id>/`, one Parquet file a snapshot day, and a manifest.
Belongs here: registering, loading, listing, which table versions are pinned. Not here: computing rows (building)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl
from deltalake.exceptions import CommitFailedError

from data_platform.core.contract.table import Table
from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.lake.files import LakeFiles
from data_platform.core.lake.store import Lake
from data_platform.features.training_sets.manifest import (
    ID,
    KEY,
    NAME,
    Manifest,
    content_digest,
    id_of,
    joint_digest,
)

FOLDER = "training_sets"
MANIFEST = "manifest.json"
KEPT_LOG = {"delta.enableExpiredLogCleanup": "false"}
"""Without it Delta forgets versions after 30 days, and with them which files a training set was made of."""


@dataclass(frozen=True)
class TrainingSet:
    """A registered training set: its manifest, and its rows in plain Parquet files.

    Columns: snapshot_date, player_id (together unique), split, the features, the label.
    """

    manifest: Manifest
    root: str
    _lake: Lake

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def features(self) -> list[str]:
        return list(self.manifest.definition.features)

    @property
    def label(self) -> str:
        return self.manifest.definition.label

    def scan(self, split: str | None = None) -> pl.LazyFrame:
        """The rows, or those of one part (`train`, `validation`, `test`), in the order of day and player.

        Raises PlatformError for a part the set does not have.
        """
        files = [file for file in self.manifest.files if split in (None, file.split)]
        if not files:
            raise PlatformError(
                f"The training set {self.id} has no part {split!r}.",
                f"It has {', '.join(self.manifest.rows_by_split)}.",
            )
        return pl.scan_parquet([f"{self.root}/{f.file}" for f in files], storage_options=self._lake.options or None)

    def rows(self, split: str | None = None) -> pl.DataFrame:
        """The rows in memory; see `scan`."""
        return self.scan(split).collect()


def load(lake: Lake, training_set_id: str) -> TrainingSet:
    """The training set of an id, bit for bit as it was registered.

    First every file is held against its digests, these against that of the whole, and that against the id: rows cannot
    change without another id. Raises PlatformError when there is no such set, or something was changed or is gone.
    """
    manifest = read_manifest(lake, training_set_id)
    files = _files(lake, training_set_id)
    content = joint_digest(manifest.files)
    if manifest.content_sha256 != content or id_of(manifest.definition, content) != training_set_id:
        raise _changed(training_set_id, f"the manifest in {files.root} does not belong to this id", "")
    for file in manifest.files:
        try:
            found = files.read(file.file)
        except FileNotFoundError:
            raise _changed(training_set_id, f"the file {files.root}/{file.file} is gone") from None
        same = hashlib.sha256(found).hexdigest() == file.sha256
        if not same or content_digest(pl.read_parquet(BytesIO(found))) != file.content_sha256:
            raise _changed(training_set_id, f"the file {files.root}/{file.file} has other content")
    return TrainingSet(manifest, files.root, lake)


def _changed(
    training_set_id: str, what: str, other: str = ", or let `training_sets.rebuild` compute it"
) -> PlatformError:
    return PlatformError(
        f"The training set {training_set_id} is not what was registered: {what}.", f"Restore it from a backup{other}."
    )


def read_manifest(lake: Lake, training_set_id: str) -> Manifest:
    """Raises PlatformError when no training set has the id, or its manifest cannot be read."""
    if not ID.fullmatch(training_set_id):
        raise PlatformError(
            f"{training_set_id[:100]!r} is no id of a training set.",
            "An id is the set's name and 16 hex digits; `data-platform training-set list` shows them all.",
        )
    files = _files(lake, training_set_id)
    if not files.exists(MANIFEST):
        meant = did_you_mean(training_set_id, (manifest.id for manifest in registered(lake)))
        raise PlatformError(
            f"There is no training set {training_set_id}.", f"{meant}`data-platform training-set list` shows them all."
        )
    return Manifest.from_json(files.read(MANIFEST).decode())


def registered(lake: Lake, name: str | None = None) -> list[Manifest]:
    """The manifests of all training sets, or of those of one name, newest first."""
    files = lake.files(FOLDER)
    found = [
        read_manifest(lake, one)
        for folder in ([name] if name else files.names())
        if NAME.fullmatch(folder)
        for one in files.names(folder)
        if ID.fullmatch(one) and files.exists(f"{folder}/{one}/{MANIFEST}")
    ]
    return sorted(found, key=lambda manifest: (manifest.created_at, manifest.id), reverse=True)


def pinned_versions(lake: Lake) -> dict[str, set[int]]:
    """Table key → Delta versions that training sets were made of: vacuum must leave their files alone."""
    pinned: dict[str, set[int]] = {}
    for manifest in registered(lake):
        for key, version in manifest.table_versions.items():
            pinned.setdefault(key, set()).add(version)
    return pinned


def register(lake: Lake, manifest: Manifest, folder: Path) -> TrainingSet:
    """Store the day files of `folder` and then, as the last thing, the manifest; a set without one does not exist.

    An id that is registered already keeps what it has: equal ids have equal rows.
    """
    files = _files(lake, manifest.id)
    if not files.exists(MANIFEST):
        for file in manifest.files:
            files.write(file.file, (folder / file.file).read_bytes())
        files.write(MANIFEST, manifest.to_json().encode())
    return load(lake, manifest.id)


def restore(lake: Lake, manifest: Manifest, folder: Path) -> TrainingSet:
    """Put back what was changed or lost of a registered set. The manifest is written again only if the files have other
    bytes (another version of Polars wrote them) than the registered ones."""
    files = _files(lake, manifest.id)
    for file in manifest.files:
        content = (folder / file.file).read_bytes()
        if not files.exists(file.file) or files.read(file.file) != content:
            files.write(file.file, content)
    if read_manifest(lake, manifest.id) != manifest:
        files.write(MANIFEST, manifest.to_json().encode())
    return load(lake, manifest.id)


def keep_log(lake: Lake, table: type[Table]) -> None:
    """Make the table keep its old versions readable, however old; a commit the first time, nothing later."""
    for _ in range(20):
        delta = lake.open(table)
        if KEPT_LOG.items() <= dict(delta.metadata().configuration).items():
            return
        try:
            delta.alter.set_table_properties(KEPT_LOG, post_commithook_properties=lake.after_commit)
        except CommitFailedError:  # another writer was first, perhaps with just this
            continue
        lake.settle(table, delta)
    raise RuntimeError(f"{table.key}: 20 commits lost to other writers")


def day_bytes(rows: pl.DataFrame) -> bytes:
    """The Parquet file of one snapshot day, rows in the order of `KEY`."""
    buffer = BytesIO()
    rows.sort(KEY).write_parquet(buffer, compression="zstd", compression_level=3)
    return buffer.getvalue()


def write_beside(lake: Lake, training_set_id: str, name: str, content: bytes) -> str:
    """Put a file, for example a model, beside a registered set; returns where."""
    read_manifest(lake, training_set_id)
    files = _files(lake, training_set_id)
    files.write(name, content)
    return f"{files.root}/{name}"


def read_beside(lake: Lake, training_set_id: str, name: str) -> bytes:
    """A file written by `write_beside`. Raises FileNotFoundError."""
    return _files(lake, training_set_id).read(name)


def _files(lake: Lake, training_set_id: str) -> LakeFiles:
    matched = ID.fullmatch(training_set_id)
    assert matched
    return lake.files(f"{FOLDER}/{matched[1]}/{training_set_id}")
