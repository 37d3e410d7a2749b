"""Files of a lake by their paths, on whatever store it is: written whole or not at all, read, listed, measured.
Belongs here: talking to the store, what it says when it cannot be used. Not here: tables (store), what is in a file."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# The object store that deltalake itself writes through, with the same options. Its public wrapper
# (`deltalake.fs.DeltaStorageHandler`) hands pyarrow buffers to a writer that takes bytes alone, and fails (1.6.6).
from deltalake._internal import DeltaFileSystemHandler, ObjectInputFile

from data_platform.core import durable
from data_platform.core.errors import PlatformError


@dataclass(frozen=True)
class Size:
    """How much there is."""

    files: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Size:
        """Of so many files, of these sizes."""
        found = list(sizes)
        return cls(len(found), sum(found))

    @classmethod
    def of_folder(cls, folder: Path) -> Size:
        """Of everything below a folder, as far as it stays while one looks."""
        found = []
        for path in folder.rglob("*"):
            with suppress(OSError):
                if not path.is_dir():
                    found.append(path.lstat().st_size)
        return cls.of(found)

    def __add__(self, other: Size) -> Size:
        return Size(self.files + other.files, self.bytes + other.bytes)


class LakeUnavailable(PlatformError, OSError):
    """The object store of a lake cannot be reached, or does not let us in. Like every OSError it may be gone at the
    next attempt, so Dagster tries again; a person may have to correct a setting."""


class LakeFiles:
    """Files under one folder of a lake, which need not exist; paths are relative to it."""

    def __init__(self, root: str, options: Mapping[str, str] | None = None) -> None:
        self.root = root
        self._options = dict(options or {})
        self._local = Path(root) if is_local(root) else None

    @functools.cached_property
    def _store(self) -> DeltaFileSystemHandler:
        return DeltaFileSystemHandler(self.root, self._options)

    def _nothing_there(self) -> bool:
        return self._local is not None and not self._local.exists()

    def write(self, path: str, content: bytes) -> None:
        """Replace the file. Nobody sees half of it: it becomes visible when it is complete, and then it stays."""
        if self._local:
            target = self._local / path
            new = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            durable.write_durably(target, content)
            for folder in new:
                durable.sync_one(folder.parent)
            return
        self.stage(path, content)

    def stage(self, path: str, content: bytes | memoryview) -> None:
        """Write a file that nobody looks for yet: on a disk it may be cut until it is synced."""
        if self._local:
            target = self._local / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            return
        with reporting_store_errors(self.root):
            stream = self._store.open_output_stream(path)
            stream.write(bytes(content))
            stream.close()  # type: ignore[attr-defined]

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        with self._opened(path) as stream:
            return bytes(stream.read(stream.size()))

    def size(self, path: str) -> int:
        """Bytes of the file, asked of the store. Raises FileNotFoundError."""
        with self._opened(path) as stream:
            return stream.size()

    @contextmanager
    def _opened(self, path: str) -> Iterator[ObjectInputFile]:
        if self._nothing_there():
            raise FileNotFoundError(f"{self.root}/{path}")
        with reporting_store_errors(self.root):
            yield self._store.open_input_file(path)

    def exists(self, path: str) -> bool:
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str = "") -> list[str]:
        """What lies directly in a folder, files and folders alike, sorted; nothing for a folder that is not there."""
        if self._nothing_there():
            return []
        with reporting_store_errors(self.root):
            found = self._store.get_file_info_selector(folder, allow_not_found=True)
        return sorted(info.base_name for info in found)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of every file below a folder, by its path; nothing for a folder that is not there."""
        if self._nothing_there():
            return {}
        with reporting_store_errors(self.root):
            found = self._store.get_file_info_selector(folder, allow_not_found=True, recursive=True)
        return {info.path: info.size for info in found if info.is_file}


def is_local(root: str) -> bool:
    return "://" not in root


@contextmanager
def reporting_store_errors(root: str) -> Iterator[None]:
    """Tell what an object store answers, other than "no such file", as LakeUnavailable; errors of a disk pass."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_local(root) or isinstance(error, LakeUnavailable):
            raise
        raise LakeUnavailable(
            f"The lake {root} cannot be used: {_reason(error)}.",
            "Check DATA_PLATFORM_LAKE_URL and DATA_PLATFORM_LAKE_OPTIONS, or what FeatureStore was given: bucket, "
            "endpoint, region, keys.",
        ) from None


def _reason(error: OSError) -> str:
    """The store's own words in one line: the code and message of its answer, or else the innermost cause. Never all it
    said: an answer about a wrong signature holds the key id and what was signed."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    # The value of an option in the wrong place may be a secret.
    text = re.sub(r'(failed to parse) "[^"]*"', r"\1 the value of an option", text)
    parts = [found[1] for tag in ("Code", "Message") if (found := re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL))]
    return ", ".join(parts).rstrip(".") or re.sub(r"^[\s↳]*(\d+: )?", "", text.strip().splitlines()[-1])
