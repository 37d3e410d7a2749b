"""A shop's database that is captured: tables, a log that triggers keep, a section, and what the lake says of its rows.
Not here: servers (source_database), any assertion."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import psycopg

from data_platform.core.discovery import landing_sources
from data_platform.domains.commerce.contracts.sources import RawOrderChanges, RawUserChanges
from data_platform.sources.connectors import Ways
from data_platform.sources.positions import discontinuities
from data_platform.sources.postgres.connector import PostgresConnector, connect
from data_platform_tests.support.homes import Home

TABLES = """
create table users (
  user_id bigint primary key, email text, country text, plan varchar(20), registered_at timestamptz default now(),
  bio text, password text default 'hunter2'
);
alter table users replica identity full, alter bio set storage external;
create table orders (
  id uuid primary key default gen_random_uuid(), customer bigint, state text not null default 'paid',
  currency text not null default 'EUR', total numeric(12, 2) not null, ordered_at timestamptz not null default now()
);
alter table orders replica identity full;
create publication data_platform for table users, orders;
create table told (n bigserial, xid bigint, of text, op text, row jsonb);
create function tell() returns trigger language plpgsql as $$ begin
  if tg_op = 'UPDATE' and (to_jsonb(old)->>tg_argv[0]) = (to_jsonb(new)->>tg_argv[0]) then
    insert into told(xid, of, op, row) values (txid_current(), tg_relname, 'update', to_jsonb(new));
    return null;
  end if;
  if tg_op <> 'INSERT' then
    insert into told(xid, of, op, row) values (txid_current(), tg_relname, 'delete', to_jsonb(old));
  end if;
  if tg_op <> 'DELETE' then
    insert into told(xid, of, op, row) values (txid_current(), tg_relname, 'insert', to_jsonb(new));
  end if;
  return null;
end $$;
create function tell_all() returns trigger language plpgsql as $$ begin
  insert into told(xid, of, op, row) select txid_current(), 'users', 'delete', to_jsonb(users) from users;
  return null;
end $$;
create trigger told after insert or update or delete on users for each row execute function tell('user_id');
create trigger told_all before truncate on users for each statement execute function tell_all();
create trigger told after insert or update or delete on orders for each row execute function tell('id');
"""
TITLE = "postgres.shop"
USERS, ORDERS = "postgres:shop/public.users", "postgres:shop/public.orders"
USER_FIELDS = ("user_id", "email", "country", "plan", "bio")
BIG = 9_000
"""Characters of a value that is stored out of line."""
State = dict[str, tuple[Any, ...]]


@dataclass
class Shop:
    """The database, and a home that it is captured into."""

    dsn: str
    home: Home
    options: dict[str, Any] = field(default_factory=dict)
    _open: list[psycopg.Connection[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        orders = {"source": "orders", "columns": {"id": "order_id", "customer": "user_id", "state": "status"}}
        orders["columns"] |= {"total": "total_amount"}  # type: ignore[index]
        users = {"source": "users", "leave_out": ["password"]}
        slot = f"shop_{psycopg.conninfo.conninfo_to_dict(self.dsn)['dbname']}"
        self.options = {
            "dsn": self.dsn,
            "slot": slot,
            "tables": {"public.users": users, "public.orders": orders},
        } | self.options

    @property
    def db(self) -> psycopg.Connection[Any]:
        if not self._open or self._open[-1].closed or self._open[-1].broken:
            self._open.append(psycopg.connect(self.dsn, autocommit=True))
        return self._open[-1]

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    @property
    def slot(self) -> str:
        return str(self.options["slot"])

    @property
    def ways(self) -> Ways:
        return Ways(self.home.lake, self.home.landing, {source.name: source for source in landing_sources()})

    def connector(self, **changes: Any) -> PostgresConnector:
        return connect(TITLE, self.options | changes, self.ways)

    def capture(self, **changes: Any) -> None:
        """All there is, by a connector of its own."""
        connector = self.connector(**changes)
        try:
            while connector.advance(threading.Event()):
                pass
        finally:
            connector.close()

    def take_in(self) -> None:
        self.capture()
        self.home.ingest()

    # ------------------------------------------------------------------- what is said
    def told_by_triggers(self, table: str) -> list[list[tuple[str, Mapping[str, Any]]]]:
        """(operation, row) of every change, by transaction."""
        found: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
        for xid, op, row in self.db.execute("select xid, op, row from told where of = %s order by n", [table]):
            found.setdefault(xid, []).append((op, row))
        return list(found.values())

    def user_changes(self) -> pl.DataFrame:
        """As received, in the order of the stream."""
        rows = self.home.rows(RawUserChanges)
        bio = pl.col("extra_fields").str.json_path_match("$.bio").alias("bio")
        return rows.with_columns(bio).sort("source_file", "source_line")

    def users_in_lake(self) -> State:
        return standing(self.user_changes(), USER_FIELDS)

    def users_in_database(self) -> State:
        rows = self.db.execute("select user_id::text, email, country, plan, bio from users").fetchall()
        return {row[0]: row for row in rows}

    def orders_in_lake(self) -> State:
        names = ("order_id", "user_id", "status", "currency", "total_amount")
        return standing(self.home.rows(RawOrderChanges), names)

    def orders_in_database(self) -> State:
        rows = self.db.execute("select id::text, customer::text, state, currency, total::text from orders").fetchall()
        return {row[0]: row for row in rows}

    def gaps(self) -> list[Any]:
        return discontinuities(self.home.ledger().lazy()).collect().rows()


def standing(changes: pl.DataFrame, names: tuple[str, ...]) -> State:
    """The rows that change lines leave, by the promise of ReceivedChanges alone: row by row, in plain Python."""
    last: dict[str, tuple[Any, Any, Any]] = {}
    for row in changes.iter_rows(named=True):
        place = row["changed_at"], int(row["sequence"])
        if row[names[0]] not in last or place >= last[row[names[0]]][0]:
            last[row[names[0]]] = place, row["operation"], tuple(row[name] for name in names)
    return {key: content for key, (_, operation, content) in last.items() if operation != "delete"}


def some_transactions(connection: psycopg.Connection[Any], seed: int, count: int, ids: range) -> None:
    """Random work on users and orders of these ids, with rollbacks of whole transactions and to savepoints."""
    chosen = random.Random(seed)
    for _ in range(count):
        rolled_back = chosen.random() < 0.15
        with connection.transaction(force_rollback=rolled_back):
            for _ in range(chosen.randint(1, 6)):
                with connection.transaction(force_rollback=chosen.random() < 0.2):
                    _act(connection, chosen, ids)


def _act(connection: psycopg.Connection[Any], chosen: random.Random, ids: range) -> None:
    one, other = chosen.choice(ids), chosen.choice(ids)
    text = chosen.choice(["plain", 'q"uote', "back\\slash", "line\nbreak", "tab\t", "zażółć", "", None, "\\N"])
    big = chosen.choice(["x", "y"]) * BIG if chosen.random() < 0.3 else text
    statements: list[tuple[str, list[Any]]] = [
        (
            "insert into users (user_id, email, bio) values (%s, %s, %s)"
            " on conflict (user_id) do update set email = excluded.email, bio = excluded.bio",
            [one, text, big],
        ),
        ("update users set country = %s where user_id = %s", [text, one]),
        ("update users set user_id = %s where user_id = %s and not exists (select from users where user_id = %s)",
         [other, one, other]),
        ("delete from users where user_id = %s", [one]),
        ("insert into orders (customer, total) values (%s, %s)", [one, chosen.randrange(10**6) / 100]),
        ("update orders set state = 'refunded', total = total + 0.01 where customer = %s", [one]),
        ("delete from orders where customer = %s", [one]),
    ]  # fmt: skip
    statement, values = chosen.choice(statements)
    connection.execute(statement, values)


def row_of(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row as a trigger told it, as `users_in_lake` has it."""
    return tuple(None if told[name] is None else str(told[name]) for name in USER_FIELDS)
