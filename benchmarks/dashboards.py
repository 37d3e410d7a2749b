"""What dashboards ask of the published tables, in SQL for PostgreSQL and for DuckDB over the lake's files.
Not here: measuring."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from data_platform.core.contract.table import Table
from data_platform.domains.commerce.contracts.metrics import MvDailyMetrics, RevenueRetentionCohorts
from data_platform.domains.commerce.contracts.star import FctOrderItems, FctOrders


@dataclass(frozen=True)
class Question:
    """One tile. `{table}` is the table, or in DuckDB its files of the last `days` days before the day asked about;
    parameters are $first, $last (days) and $user."""

    table: type[Table]
    days: int
    query: str
    published: str = ""
    """Where PostgreSQL asks, when not the table: a summary, by another query."""


QUESTIONS = {
    "net revenue by day, 30 days": Question(
        MvDailyMetrics, 30,
        "SELECT metric_date, currency, net_revenue, orders, conversion FROM {table}"
        " WHERE metric_date BETWEEN $first AND $last ORDER BY 1, 2",
    ),
    "the year by day": Question(
        MvDailyMetrics, 365,
        "SELECT metric_date, currency, net_revenue, active_users FROM {table}"
        " WHERE metric_date BETWEEN $first AND $last ORDER BY 1, 2",
    ),
    "the year by month": Question(
        MvDailyMetrics, 365,
        "SELECT date_trunc('month', metric_date) AS month, currency, sum(net_revenue), sum(orders)"
        " FROM {table} WHERE metric_date BETWEEN $first AND $last GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT month, currency, net_revenue, orders FROM analytics.metrics_by_month"
        " WHERE month BETWEEN $first AND $last ORDER BY 1, 2",
    ),
    "ten best products of a month": Question(
        FctOrderItems, 30,
        "SELECT product_id, currency, sum(revenue) AS revenue FROM {table} GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10",
        "SELECT product_id, currency, revenue FROM analytics.product_sales_by_month"
        " WHERE month = date_trunc('month', $last)::date ORDER BY 3 DESC LIMIT 10",
    ),
    "a day's orders by status": Question(
        FctOrders, 1,
        "SELECT status, currency, count(*), sum(amount) FROM {table} WHERE order_date = $last GROUP BY 1, 2",
    ),
    "a day's revenue by hour": Question(
        FctOrders, 1,
        "SELECT date_trunc('hour', ordered_at) AS hour, currency, count(*), sum(revenue) FROM {table}"
        " WHERE order_date = $last GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    "a customer's orders, 90 days": Question(
        FctOrders, 90,
        "SELECT order_date, order_id, status, amount FROM {table}"
        " WHERE user_id = $user AND order_date BETWEEN $first AND $last ORDER BY ordered_at DESC LIMIT 20",
    ),
    "cohorts": Question(
        RevenueRetentionCohorts, 0,
        "SELECT cohort_month, months_since, sum(users), sum(revenue) FROM {table} GROUP BY 1, 2 ORDER BY 1, 2",
    ),
}  # fmt: skip


def parameters(question: Question, last: dt.date, user: str) -> dict[str, dt.date | str]:
    """Values of the parameters that the question has."""
    given = {"first": last - dt.timedelta(max(question.days - 1, 0)), "last": last, "user": user}
    texts = question.query + question.published
    return {name: value for name, value in given.items() if f"${name}" in texts}
