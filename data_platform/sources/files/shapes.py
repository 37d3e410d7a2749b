"""Files in shapes that a domain knows (exports of other tools, recorded calls) → lines of a landing folder, without a
mapping. Belongs here: what a shape is, finding those of the domains, reading JSON files, landing.
Not here: any shape (`domains/*/shapes`: modules with `SHAPES`), files that need a mapping (mapping)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard
from zlib_ng import gzip_ng

from data_platform.core.durable import durable_file
from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.packages import by_name, declared_in
from data_platform.sources.files.foreign_files import JSON_KINDS, LINE_KINDS, kind_of
from data_platform.sources.files.mapping import MappedFile, stem_of
from data_platform.sources.landing_files import content_digest
from data_platform.sources.landing_source import LandingSource

Line = Mapping[str, Any]


class LeftOut(Exception):
    """An entry of a file that is nothing to its landing folder, for example a span around others: it is counted."""


@dataclass(frozen=True)
class Shape:
    """A shape that files come in, and what makes lines of them."""

    name: str
    source: LandingSource
    entries: Callable[[Any], Iterator[Any]]
    """The entries of a JSON document."""
    line_of: Callable[[Any], Line]
    """The line of an entry; raises LeftOut with the reason. A line without what the contract demands is rejected at
    ingestion, with a reason, like any other."""


@dataclass(frozen=True)
class ShapedFile:
    """What became of a file: where it landed, and how many entries were left out for which reason."""

    landed: MappedFile
    left_out: Mapping[str, int] = field(default_factory=dict)


def shapes() -> dict[str, Shape]:
    """The shapes of all domains, by name. Raises PlatformError for two of one name."""
    return by_name("shapes", declared_in("shapes", "SHAPES"), lambda shape: shape.name)


def shape_called(name: str) -> Shape:
    """Raises PlatformError for a shape that no domain knows."""
    known = shapes()
    if name not in known:
        all_of_them = ", ".join(sorted(known))
        advice = f"{did_you_mean(name, list(known))}Shapes are {all_of_them}; anything else needs --mapping."
        raise PlatformError(f"There is no shape {name!r}.", advice)
    return known[name]


def land_file(file: Path, shape: Shape, landing: Path, stated: Mapping[str, str]) -> ShapedFile:
    """Put a file's entries into the landing folder of its shape, all or nothing; `stated` are fields of lines that do
    not say them. The same file with the same fields lands under the same name. Raises PlatformError naming file and
    line for what is no JSON, and for a file without a single entry."""
    _judge(file, stated, shape)
    digest = hashlib.blake2b(f"{content_digest(file)}:{shape.name}:{sorted(stated.items())}".encode(), digest_size=8)
    folder = landing / shape.source.name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{stem_of(file)}-{digest.hexdigest()}.ndjson.gz"
    rows, left_out = 0, Counter[str]()
    with durable_file(target) as landed, gzip_ng.GzipNGFile("", "wb", fileobj=landed, mtime=0) as packed:
        for entry in _entries(file, shape):
            try:
                line = {name: value for name, value in shape.line_of(entry).items() if value is not None}
            except LeftOut as why:
                left_out[str(why)] += 1
                continue
            packed.write((json.dumps({**stated, **line}) + "\n").encode())
            rows += 1
        if not rows and not left_out:
            raise PlatformError(f"{file} holds nothing of the shape {shape.name}.", "Name another shape or file.")
    return ShapedFile(MappedFile(file, target, rows), dict(left_out))


def _judge(file: Path, stated: Mapping[str, str], shape: Shape) -> None:
    if kind_of(file) not in JSON_KINDS:
        kinds = ", ".join(JSON_KINDS)
        raise PlatformError(f"{file} is no JSON.", f"Shapes are read from {kinds}; others need --mapping.")
    known = [column.name for column in shape.source.fields()]
    for name in stated:
        if name not in known:
            raise PlatformError(
                f"{shape.source.name} has no field {name!r}.",
                f"{did_you_mean(name, known)}Fields are {', '.join(known)}.",
            )


def _entries(file: Path, shape: Shape) -> Iterator[Any]:
    by_line = kind_of(file) in LINE_KINDS
    with _opened(file) as content:
        for number, text in enumerate(content if by_line else [content.read()], 1):
            if text.strip():
                yield from shape.entries(_parsed(text, f"{file}, line {number}" if by_line else str(file)))


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlatformError(f"{where} is no JSON: {error}.", "Correct or leave out what is broken.") from None


def _opened(file: Path) -> IO[bytes]:
    if file.suffix.lower() == ".gz":
        return io.BufferedReader(gzip.open(file))
    if file.suffix.lower() == ".zst":
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file.open("rb"), closefd=True))
    return file.open("rb")
