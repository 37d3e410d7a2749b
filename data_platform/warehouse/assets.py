"""The assets of other dbt projects. Not here: models of ours, which belong to a domain."""

from __future__ import annotations

from data_platform.warehouse.foreign import foreign_projects

projects = foreign_projects()
