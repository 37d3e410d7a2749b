"""Rows in the order of their key, as `DataFrame.sort` has them, and groups of them, for a fraction of the time.
Belongs here: an order by whole numbers that stand for the values of a key. Not here: which tables are sorted.

Sorting by several columns compares encoded rows: a million rows by seven columns of text take 2.6 s of a processor. Few
different texts are as good as their places in the order of all of them, several small numbers and the beginning of a
text are one number of 64 bits, and the few rows that these numbers do not tell apart are sorted by themselves: 0.3 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

FEWEST_ROWS = 20_000
"""Fewer are sorted as they are: 10 ms."""
GLANCE = 1_000
"""Rows that are looked at first to see that they are not in order."""
FEW = 8
"""Texts of which each is there so many times, on average, are known by their place in the order of them all."""
MANY, MOST_DIFFERENT = 10_000, 0.9
"""Where more than this share of so many texts differ, most of all do."""
MOST_TIES = 0.1
"""Beyond this share of rows that their numbers do not tell apart, all rows are compared."""
BITS, BYTES = 64, 8
LEAST_BYTES = 4
"""Fewer of a text's beginning are not worth the room behind what comes before it."""


@dataclass(frozen=True)
class _Code:
    """Whole numbers (UInt64) of so many bits, in the order of the values of a column. Those of the beginning of a long
    text are equal also for texts that differ behind it."""

    numbers: pl.Series
    bits: int
    text: _LongText | None = None


@dataclass(frozen=True)
class _LongText:
    """Text of which nearly each is another one, from where they begin to differ."""

    texts: pl.Series
    begins: int

    def numbers(self, place: int) -> pl.Series:
        """What its 8 bytes from a place on are in order; what is shorter ends in zeros."""
        bytes_ = self.texts.cast(pl.Binary).bin.slice(self.begins + place, BYTES)
        shortest: Any = bytes_.bin.size().min()
        if shortest < BYTES:
            bytes_ = (bytes_ + pl.Series([bytes(BYTES)])).bin.slice(0, BYTES)
        return bytes_.bin.reinterpret(dtype=pl.UInt64, endianness="big")


class _Uncodable(Exception):
    """Values of a type that no whole numbers stand for."""


@dataclass(frozen=True)
class _Order:
    """Rows in the order of a key."""

    rows: np.ndarray
    """Their numbers."""
    repeats: np.ndarray
    """Whether the key of the row at a place is that of the one before it."""


def sorted_by(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The frame's rows by the columns of its key, nulls first. Rows of one key are in any order."""
    if len(frame) < FEWEST_ROWS:
        return frame.sort(key)
    if is_sorted_by(frame, key):
        return frame
    order = _order_of(frame, key)
    return frame.sort(key) if order is None else _gathered(frame, order)


def is_sorted_by(frame: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether the rows are in the order of `sorted_by`; not told of keys with nulls. 0.1 s for a million rows of seven
    columns; rows that are not in order are mostly found out by the first ones."""
    in_order: pl.Expr = pl.lit(True)
    for name in reversed(key):
        value, before = pl.col(name), pl.col(name).shift(1)
        in_order = (before < value) | ((before == value) & in_order)
    rising = in_order.slice(1).all(ignore_nulls=False).fill_null(False)
    return all(bool(part.select(rising).item()) for part in (frame.head(GLANCE), frame.select(key)))


def summed_by(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """What `frame.group_by(key).agg(pl.exclude(key).sum())` gives, in the order of the key and of the frame's columns;
    others than the key's are Int64 or decimals. Where nearly every row is a group of its own, half the time of grouping
    and sorting."""
    order = _order_of(frame, key) if len(frame) >= FEWEST_ROWS else None
    if order is None:
        return sorted_by(frame.group_by(key).agg(pl.exclude(key).sum()), key).select(frame.columns)
    ordered, begins = _gathered(frame, order), ~order.repeats
    sums = ordered.filter(pl.Series(begins)).with_columns(pl.exclude(key).fill_null(0))
    several = _tied(order.repeats)
    if not several.any():
        return sums
    group = pl.Series("group", (np.cumsum(begins) - 1)[several])
    again = ordered.filter(pl.Series(several)).group_by(group, maintain_order=True).agg(pl.exclude(key).sum())
    columns = [name for name in again.columns if name != "group"]
    return sums.with_columns(sums[name].scatter(again["group"], again[name]) for name in columns)


def _gathered(frame: pl.DataFrame, order: _Order) -> pl.DataFrame:
    """Out of chunks, as files are read, gathering takes nine times as long: 0.36 s for a million rows of 14 columns.
    Columns that say the same of every row stay as they are."""
    alike = [column for column in frame if _says_one_thing(column)]
    telling = frame.drop(column.name for column in alike).rechunk()
    return telling[pl.Series(order.rows.astype(np.uint32))].with_columns(alike).select(frame.columns)


def _says_one_thing(values: pl.Series) -> bool:
    nulls = values.null_count()
    if not nulls and values.dtype.is_integer():
        return bool(values.min() == values.max())
    return nulls == len(values)


def _order_of(frame: pl.DataFrame, key: Sequence[str]) -> _Order | None:
    """None where rows have to be compared."""
    words = list[np.ndarray]()
    rows, repeats = np.arange(len(frame)), np.append(False, np.ones(len(frame) - 1, bool))
    told_apart, is_exact = True, True
    try:
        for word, complete in _packed(_codes_of_key(frame, key)):
            words.append(word.to_numpy())
            is_exact = complete
            rows = np.lexsort(words[::-1]) if len(words) > 1 else word.arg_sort().to_numpy()
            repeats = np.append(False, _alike([one[rows] for one in words]))
            told_apart = _tied(repeats).mean() <= MOST_TIES
            if told_apart:
                break
    except _Uncodable:
        return None
    if is_exact:
        return _Order(rows, repeats)
    return _with_ties_compared(frame.select(key), rows, repeats) if told_apart else None


def _codes_of_key(frame: pl.DataFrame, key: Sequence[str]) -> Iterator[_Code]:
    """Polars does each column's by one thread."""
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        for codes in pool.map(lambda name: [*_codes(frame[name])], key):
            yield from codes


def _codes(values: pl.Series) -> Iterator[_Code]:
    """What stands for a column: nothing where all its values are equal."""
    if values.dtype == pl.String:
        yield from _codes_of_text(values)
    elif values.dtype.is_signed_integer() or values.dtype.is_temporal() or values.dtype == pl.Boolean():
        numbers = values.cast(pl.UInt8) if values.dtype == pl.Boolean() else values.to_physical()
        least, most = numbers.min(), numbers.max()
        if not isinstance(least, int) or not isinstance(most, int):
            return  # all of them are missing
        if most - least > 2**62:
            raise _Uncodable
        if most > least or numbers.null_count():
            code = (numbers.cast(pl.Int64) - least + 1).fill_null(0).cast(pl.UInt64)
            yield _Code(code, (most - least + 1).bit_length())
    else:
        raise _Uncodable


def _codes_of_text(texts: pl.Series) -> Iterator[_Code]:
    if _are_few(texts):
        named = texts.cast(pl.Categorical(pl.Categories.random()))
        different = named.unique().drop_nulls()
        if len(different) > 1 or texts.null_count():
            ascending = different.to_physical()[different.cast(pl.String).arg_sort()].to_numpy()
            places = np.zeros(int(ascending.max(initial=0)) + 2, np.uint64)
            places[ascending] = np.arange(1, len(ascending) + 1)
            numbers = places[named.to_physical().fill_null(len(places) - 1).to_numpy()]
            yield _Code(pl.Series(numbers), len(ascending).bit_length())
        return
    least, most = str(texts.min()).encode(), str(texts.max()).encode()
    alike = next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(len(least), len(most)))
    if texts.null_count():
        yield _Code(texts.is_not_null().cast(pl.UInt64), 1)
    text = _LongText(texts.fill_null(""), alike)
    yield _Code(text.numbers(0), BITS, text)


def _are_few(texts: pl.Series) -> bool:
    """Whether each text is there FEW times, on average. Estimating that of a million different ones takes 0.1 s, so
    some are looked at first."""
    some = texts.gather_every(max(1, len(texts) // MANY))
    if len(texts) > MANY and some.n_unique() > MOST_DIFFERENT * len(some):
        return False
    about: Any = texts.approx_n_unique()
    return bool(about * FEW <= len(texts))


def _packed(codes: Iterator[_Code]) -> Iterator[tuple[pl.Series, bool]]:
    """The codes as few numbers of 64 bits, in the same order, up to the first long text: as many of its bytes as fit
    and the 8 behind them. And whether all numbers until then are equal for equal keys only."""
    word: pl.Series | None = None
    used = 0
    for code in codes:
        if word is not None and code.text and (room := (BITS - used) // 8) >= LEAST_BYTES:
            yield word * 2 ** (8 * room) + code.numbers // 2 ** (BITS - 8 * room), False
            yield code.text.numbers(room), False
            return
        if word is not None and used + code.bits <= BITS:
            word = word * 2**code.bits + code.numbers
            used += code.bits
        else:
            if word is not None:
                yield word, False
            word, used = code.numbers, code.bits
        if code.text:
            yield word, False
            yield code.text.numbers(BYTES), False
            return
    if word is not None:
        yield word, True


def _alike(ordered: Sequence[np.ndarray]) -> np.ndarray:
    """Of each row in order but the first whether it has the numbers of the one before."""
    same: np.ndarray = np.ones(len(ordered[0]) - 1, bool)
    for word in ordered:
        same &= word[:-1] == word[1:]
    return same


def _tied(repeats: np.ndarray) -> np.ndarray:
    """Of each row in order whether another is like it."""
    tied: np.ndarray = repeats | np.append(repeats[1:], False)
    return tied


def _with_ties_compared(key: pl.DataFrame, rows: np.ndarray, alike: np.ndarray) -> _Order:
    """Rows that are alike in their numbers by their whole keys: they are in runs, and a key of a later run is a larger
    one."""
    if not alike.any():
        return _Order(rows, alike)
    rows, repeats, tied = rows.copy(), alike.copy(), _tied(alike)
    some = rows[tied]
    rows[tied] = some[key[pl.Series(some)].select(pl.arg_sort_by(key.columns)).to_series().to_numpy()]
    ones, before = key[pl.Series(rows[alike])], key[pl.Series(rows[np.append(alike[1:], False)])]
    same = [one.eq_missing(other) for one, other in zip(ones, before, strict=True)]
    repeats[alike] = pl.select(pl.all_horizontal(same)).to_series().to_numpy()
    return _Order(rows, repeats)
