"""Keys of failing rows, as verdicts keep them: reading them, and which of their values people may see.
Not here: making text safe to look at (health/text)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from data_platform.core.contract.table import Personal, Table

Key = dict[str, object]
NOT_SHOWN = "(not shown)"


def keys_of(samples: Iterable[str]) -> Iterator[Key]:
    """The keys of several verdicts in their order; text that is no such JSON has no name."""
    for sample in samples:
        try:
            read = json.loads(sample)
        except ValueError:
            read = [sample]
        for key in read if isinstance(read, list) else [sample]:
            yield key if isinstance(key, dict) else {"": key}


def may_be_shown(table: type[Table], name: str, value: object) -> bool:
    """Keys and pseudonyms; of what no contract describes, as columns of tests written in SQL, only numbers."""
    declared = table.columns.get(name)
    if declared is None:
        return not isinstance(value, str)
    return declared.personal not in (Personal.DIRECT, Personal.CONTENT)


def key_text(table: type[Table], key: Key) -> str:
    """`player_id=p-1, changes=3`, of what may be shown."""
    shown = (f"{name}={value}" for name, value in key.items() if may_be_shown(table, name, value))
    return ", ".join(shown) or NOT_SHOWN
