"""What each table is computed from, and in whose step, as its asset declares.
Belongs here: the register, which knows no Dagster. Not here: any declaration (the domains' assets)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from data_platform.core.contract.table import Column, Days, Table

INPUTS: dict[str, tuple[Days, ...]] = {}
COMPUTED_WITH: dict[str, type[Table]] = {}
ROWS = "*"
"""Stands for the number of a table's rows where a column may be named."""

Part = tuple[str, str]
"""Key of a table, and a column of it or ROWS."""


def declare_inputs(table: type[Table], inputs: Iterable[Days], computed_with: type[Table] | None = None) -> None:
    INPUTS[table.key] = tuple(inputs)
    if computed_with:
        COMPUTED_WITH[table.key] = computed_with


def inputs_of(table: type[Table]) -> tuple[Days, ...]:
    """What a table is computed from, as declared by its asset; nothing for tables that come from outside."""
    return INPUTS.get(table.key, ())


def computed_with(table: type[Table]) -> type[Table]:
    """The table in whose step this one is computed: itself, unless its spec says otherwise."""
    return COMPUTED_WITH.get(table.key, table)


def upstream_of(tables: Iterable[type[Table]]) -> set[type[Table]]:
    """The tables and everything they are computed from."""
    found: set[type[Table]] = set()
    waiting = list(tables)
    while waiting:
        table = waiting.pop()
        if table not in found:
            found.add(table)
            waiting += [needed.table for needed in inputs_of(table)]
    return found


def origins(declared: Column, upstream: Sequence[type[Table]]) -> list[Column]:
    """Declared origins of a column; without any, the upstream columns of the same name."""
    named = [one for one in declared.derived_from if one.table in upstream]
    return named or [table.columns[declared.name] for table in upstream if declared.name in table.columns]


def same_day_origins(
    table: type[Table], through: Callable[[type[Table]], bool] = lambda _: True
) -> dict[str, set[Part]]:
    """Column (or ROWS) → the parts of other tables that it is made of, with the day itself among their days: those of
    the inputs, and those of inputs of these that may be gone `through`. What is read since ever (registries) is of no
    one day."""
    direct: dict[Part, set[Part]] = {}
    _follow(table, through, direct)
    return {name: _all_of((table.key, name), direct) for name in (ROWS, *table.columns)}


def _follow(table: type[Table], through: Callable[[type[Table]], bool], direct: dict[Part, set[Part]]) -> None:
    upstream = [one.table for one in inputs_of(table) if one.first is not None and one.first <= 0 <= one.last]
    direct[table.key, ROWS] = {(one.key, ROWS) for one in upstream}
    for name, declared in table.columns.items():
        made_of = origins(declared, upstream)
        direct[table.key, name] = {(one.table.key, one.name) for one in made_of if one.table is not None}
    for one in upstream:
        if through(one) and (one.key, ROWS) not in direct:
            _follow(one, through, direct)


def _all_of(part: Part, direct: dict[Part, set[Part]]) -> set[Part]:
    reached: set[Part] = set()
    waiting = [part]
    while waiting:
        new = direct.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached - {part}
