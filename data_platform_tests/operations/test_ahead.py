"""Whether a build starts dbt before it loads the code location. Not here: that such a dbt is used and ends
(warehouse/test_dbt_runs)."""

from __future__ import annotations

import pytest

from data_platform.core.errors import PlatformError
from data_platform.domains.commerce.contracts.star import FctOrders
from data_platform.operations.ahead import dbt_meanwhile, sql_will_be_due
from data_platform_tests.support.commerce_homes import drop, order
from data_platform_tests.support.homes import Home, event


def test_dbt_is_started_where_sql_models_will_be_due(home: Home) -> None:
    assert not sql_will_be_due([], asked_for_days=True), "nothing was ever received"
    home.drop("a.ndjson", [event(timestamp="2024-03-01T10:00:00Z")])
    assert not sql_will_be_due([], asked_for_days=True), "a game without a shop"
    drop(home, "first", {"orders": [order("o-1", "2024-03-01 10:00")]})
    assert sql_will_be_due([], asked_for_days=False), "of a shop that is about to come"
    assert sql_will_be_due([FctOrders.key], asked_for_days=False)
    assert not sql_will_be_due(["gameplay/daily_metrics"], asked_for_days=True), "which no SQL is upstream of"
    home.ingest()
    assert not sql_will_be_due([], asked_for_days=False), "nothing waits, as far as that shows"
    assert sql_will_be_due([], asked_for_days=True)
    with pytest.raises(PlatformError, match="no table"), dbt_meanwhile(["commerce/fct_order"], asked_for_days=True):
        pass
