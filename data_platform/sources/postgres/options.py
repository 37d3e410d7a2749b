"""What a section `[postgres.NAME]` may say. Not here: whether the database agrees (catalog)."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

MEGABYTE = 1 << 20


class TableOptions(BaseModel):
    """Where a table's rows go. `"public.users" = "users"` is short for `{ source = "users" }`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """Landing source."""
    columns: dict[str, str] = {}
    """Column of the table → field of the source, where the names differ."""
    leave_out: tuple[str, ...] = ()
    """Columns that never leave the database, for example a password's digest."""
    key: tuple[str, ...] = ()
    """Columns that name a row for the source, where that is not the primary key."""

    def field(self, column: str) -> str:
        return self.columns.get(column, column)


class Options(BaseModel):
    """A database, the slot and the publication that changes are read through, and the tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dsn: SecretStr
    slot: str = Field(default="", pattern=r"^[a-z0-9_]{0,60}$")
    """Of this section alone: who shares a slot loses changes. Empty is `data_platform_NAME`."""
    publication: str = Field(default="data_platform", min_length=1)
    tables: dict[str, TableOptions] = Field(min_length=1)
    most_lag_mb: int = Field(default=1024, ge=1)
    """Megabytes of its log that a table may be behind, and that the server may keep for the slot, before an alarm."""

    def of_section(self, name: str) -> Options:
        """With the slot that the section has unless it says another."""
        slot = self.slot or "data_platform_" + re.sub(r"[^a-z0-9_]", "_", name.lower())[:40]
        return self.model_copy(update={"slot": slot})

    @field_validator("tables", mode="before")
    @classmethod
    def _short_form(cls, tables: Any) -> Any:
        if not isinstance(tables, dict):
            return tables
        for name in tables:
            if name.count(".") != 1 or name.startswith(".") or name.endswith("."):
                raise ValueError(f"{name} must be written as schema.table")
        return {name: {"source": one} if isinstance(one, str) else one for name, one in tables.items()}
