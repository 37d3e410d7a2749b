"""Whose rows a token reads: those of one tenant, or of some of its projects, or everybody's. Belongs here: the rule,
which holds at every door. Not here: what is read (web/query, features/api)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import polars as pl
from pydantic import Field, model_validator

from data_platform.core.contract.table import Table
from data_platform.core.http.problems import Problem
from data_platform.core.http.tokens import Token


@dataclass(frozen=True)
class Reach:
    """What somebody may see: the rows of one tenant and no others; of `tenant` None, all rows."""

    tenant: str | None
    projects: tuple[str, ...] | None = None
    """Of the tenant's rows those of these projects and no others; None: all."""

    def rows(self, table: type[Table]) -> pl.Expr:
        """True for the rows that may be seen. Whose a row is that names nobody is not known: operators alone see it.

        Raises Problem 403 for a tenant who asks for a table that does not say whose its rows are, and for who sees some
        projects alone and asks for one that does not say of which project they are."""
        if self.tenant is None:
            return pl.lit(True)
        if table.tenant is None:
            raise Problem(403, "operators-alone", "This is for operators: it does not tell tenants apart.")
        own = pl.col(table.tenant).eq(pl.lit(self.tenant, pl.String)).fill_null(False)
        if self.projects is None:
            return own
        if table.within_tenant is None:
            raise whole_tenants_alone()
        return own & pl.col(table.within_tenant).is_in(list(self.projects)).fill_null(False)

    def require(self, tenants: tuple[str, ...], projects: tuple[str, ...] = ()) -> None:
        """Raise Problem 403 where another tenant or project is asked for: the same whether there is one or not."""
        if self.tenant is not None and any(tenant != self.tenant for tenant in tenants):
            raise Problem(
                403, "another-tenant", "The token is not for this tenant.", "Leave the tenant out: it is yours."
            )
        if self.projects is not None and any(project not in self.projects for project in projects):
            raise Problem(
                403, "another-project", "The token is not for this project.", "Leave the project out: it is yours."
            )


EVERYBODY = Reach(None)


def whole_tenants_alone() -> Problem:
    """What who sees some projects alone is answered where projects are not told apart."""
    return Problem(403, "whole-tenants-alone", "This is for whole tenants: it does not tell projects apart.")


class TenantToken(Token):
    """A token that says whose rows it reads."""

    tenant: str | None = Field(default=None, min_length=1)
    """This tenant's alone; in place of it …"""
    projects: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Of the tenant's rows those of these projects alone."""
    tenants: Literal["*"] | None = None
    """… all tenants', for operators."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.tenant is None) == (self.tenants is None):
            raise ValueError('write either tenant = "NAME" or, for operators, tenants = "*"')
        if self.projects is not None and (self.tenant is None or not all(self.projects)):
            raise ValueError('projects = ["NAME"] are those of one tenant: write tenant = "NAME" too')
        return self

    @property
    def reach(self) -> Reach:
        return Reach(self.tenant, self.projects)
