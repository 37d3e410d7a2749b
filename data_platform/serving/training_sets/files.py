"""Small files beside the tables of a lake, on whatever store the lake is: written whole or not at all.
Not here: what is in them."""

from __future__ import annotations

from pathlib import Path

# The object store that deltalake itself writes through, with the same options. Its public wrapper
# (`deltalake.fs.DeltaStorageHandler`) hands pyarrow buffers to a writer that takes bytes alone, and fails (1.6.6).
from deltalake._internal import DeltaFileSystemHandler
from pyarrow.fs import FileType

from data_platform.core.lake import Lake


class LakeFiles:
    """Files under one folder of the lake, which need not exist; paths are relative to it."""

    def __init__(self, lake: Lake, folder: str) -> None:
        self.root = f"{lake.root}/{folder}"
        self._options = lake.options or None
        self._local = Path(self.root) if lake.local else None

    def _store(self) -> DeltaFileSystemHandler:
        return DeltaFileSystemHandler(self.root, self._options)

    def _nothing_there(self) -> bool:
        return self._local is not None and not self._local.exists()

    def write(self, path: str, content: bytes) -> None:
        """Replace the file. Nobody sees half of it: the store makes it visible when it is complete."""
        if self._local:
            self._local.mkdir(parents=True, exist_ok=True)
        stream = self._store().open_output_stream(path)
        stream.write(content)
        stream.close()  # type: ignore[attr-defined]

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        if not self.exists(path):
            raise FileNotFoundError(f"{self.root}/{path}")
        stream = self._store().open_input_file(path)
        return bytes(stream.read(stream.size()))

    def exists(self, path: str) -> bool:
        return not self._nothing_there() and self._store().get_file_info([path])[0].type == FileType.File

    def names(self, folder: str = "") -> list[str]:
        """What lies directly in a folder, files and folders alike, sorted; nothing for a folder that is not there."""
        if self._nothing_there():
            return []
        found = self._store().get_file_info_selector(folder, allow_not_found=True)
        return sorted(info.base_name for info in found)
