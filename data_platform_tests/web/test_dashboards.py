"""The dashboards over a real HTTP server: what they show of a lake, where it comes from, and what they do not tell.
Not here: sums and pictures by themselves (test_dashboard_series), colours (test_dashboard_style)."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

import pytest

from data_platform.core.contract.panels import Chart, Dashboard, Panel
from data_platform.core.discovery import dashboards
from data_platform.core.errors import PlatformError
from data_platform.core.lake.rewriting import compact
from data_platform.core.packages import packages
from data_platform.core.settings import PROJECT_ROOT
from data_platform.domains.churn.contracts.features import PlayerChurnFeatures
from data_platform.domains.churn.contracts.learning import ChurnRisk
from data_platform.domains.commerce.contracts.metrics import MvDailyMetrics
from data_platform.domains.gameplay.contracts.activity import CampaignMetrics, DailyMetrics, PlayerRetention
from data_platform.domains.research.contracts.metrics import (
    DailyActivePersonas,
    ProjectDiversity,
    ProjectHealthScores,
    WeeklyRetentionCohorts,
)
from data_platform.web.dashboards.marts import Marts
from data_platform_tests.support.dashboard_rows import rows_of
from data_platform_tests.support.health_home import HOSTILE, TODAY, Reader, serving
from data_platform_tests.support.homes import Home

YESTERDAY = TODAY - dt.timedelta(1)
TABLES = [
    DailyMetrics, PlayerRetention, CampaignMetrics, MvDailyMetrics, PlayerChurnFeatures, ChurnRisk, DailyActivePersonas,
    ProjectDiversity, ProjectHealthScores, WeeklyRetentionCohorts,
]  # fmt: skip


def back(days: int) -> dt.date:
    return YESTERDAY - dt.timedelta(days)


def write_days(home: Home, days: int = 100, today: bool = True) -> None:
    """DAU counts the days back from yesterday; today, which is not over, is enormous."""
    axis = [back(n) for n in range(days)] + ([TODAY] if today else [])
    dau = [*range(days)] + ([10**9] if today else [])
    home.lake.replace(
        DailyMetrics, rows_of(DailyMetrics, metric_date=axis, dau=dau, mau=[200] * len(axis), sessions=dau), axis
    )


def test_it_shows_whole_days_of_the_period_and_where_they_are_from(home: Home) -> None:
    write_days(home)
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/dashboards?days=30").text
        assert f"{back(29)} to {YESTERDAY}: whole days, UTC" in page
        assert re.search(r"DAU <strong>0</strong>", page), "yesterday's, not today's"
        assert f"sessions <strong>{sum(range(30)):,}</strong>" in page, "what adds up is added up"
        links = {str(a.get("href")) for tag, a in Reader(page).tags if tag == "a"}
        assert {"/tables/gameplay/daily_metrics", "http://127.0.0.1:3000/assets/gameplay/daily_metrics"} <= links
        assert {f"/dashboards?days={days}" for days in (30, 90, 365)} <= links
        inside = [link for link in links if link.startswith("/")]
        assert all(client.get(link).status_code == 200 for link in inside)
        assert "1,000,000,000" not in page
        for odd in ("", "?days=7", "?days=x", "?days=-1", "?days=99999999999999"):
            assert f"{back(89)} to {YESTERDAY}" in client.get(f"/dashboards{odd}").text
        assert client.get("/dashboards/players/nothing").status_code == 404


def test_each_picture_has_words_and_a_table_behind_it(home: Home) -> None:
    write_days(home)
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/dashboards?days=30").text
        pictures = re.findall(r'<svg class="plot".*?</svg>', page, re.DOTALL)
        assert len(pictures) == 4
        for picture in pictures:
            (label,) = re.findall(r'role="img" aria-labelledby="(\S+) (\S+)"', picture)
            assert all(f'id="{one}"' in picture for one in label)
        assert "DAU: 0 to 29, 0 at last" in page
        assert f"{back(3):%a %Y-%m-%d}: MAU 200, WAU –, DAU 3" in page
        numbers = client.get("/dashboards/players/active-players?days=90").text
        rows = re.findall(r'<tr><th scope="row">(\S+)</th><td class="number">(\S+)</td>', numbers)
        assert rows == [(str(back(n)), "200") for n in range(90)]


def test_a_table_without_days_says_so_and_one_whose_days_are_over_names_the_newest(home: Home) -> None:
    days = [dt.date(2024, 5, 1)]
    home.lake.replace(DailyMetrics, rows_of(DailyMetrics, metric_date=days, dau=[3]), days)
    with serving(home, tables=TABLES) as (client, _):
        page = Reader(client.get("/dashboards?days=365").text).text
        assert "No days yet: nothing has been written to gameplay/campaign_metrics." in page
        assert "No days yet: nothing has been written to gameplay/daily_metrics." in page, "older than what is kept"
    day = back(60)
    home.lake.replace(DailyMetrics, rows_of(DailyMetrics, metric_date=[day], dau=[3]), [day])
    with serving(home, tables=TABLES) as (client, _):
        page = Reader(client.get("/dashboards?days=30").text).text
        assert f"No days from {back(29)} to {YESTERDAY}; the newest is {day}." in page


def test_a_commit_is_seen_and_only_its_days_are_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(home, today=False)
    panel = Panel("Active", "", Chart.LINES, {"DAU": DailyMetrics.dau})
    marts = Marts(home.lake, [panel], every=3600)
    marts.look()
    seen, generation = marts.of(panel), marts.generation
    marts.look()
    assert (marts.of(panel), marts.generation) == (seen, generation), "nothing was written"
    home.lake.replace(DailyMetrics, rows_of(DailyMetrics, metric_date=[back(4)], dau=[77]), [back(4), back(5)])
    # Whoever reads another day than the written one fails.
    for day in range(100):
        if day != 4:
            shutil.rmtree(home.path / f"lake/gameplay/daily_metrics/metric_date={back(day)}", ignore_errors=True)
    marts.look()
    found = dict(marts.of(panel).rows.iter_rows())
    assert found == {back(n): n for n in range(100) if n not in (4, 5)} | {back(4): 77}
    assert marts.of(panel).failure is None
    assert marts.generation > generation


def test_a_table_that_cannot_be_read_keeps_what_it_had_and_hides_no_other(home: Home) -> None:
    write_days(home, today=False)
    home.lake.replace(PlayerRetention, rows_of(PlayerRetention, cohort_date=[back(1)], cohort_size=[8]), [back(1)])
    with serving(home, tables=TABLES) as (client, _):
        assert "cannot be read" not in client.get("/dashboards?days=30").text
        log = home.path / "lake/gameplay/daily_metrics/_delta_log"
        shutil.move(log, home.path / "gone")
        (home.path / "lake/gameplay/daily_metrics/_delta_log").write_text("a file")
        marts = Marts(home.lake, [panel for one in dashboards() for panel in one.panels], every=3600)
        marts.look()
        broken = next(panel for panel in marts.panels if panel.table is DailyMetrics)
        sound = next(panel for panel in marts.panels if panel.table is PlayerRetention)
        assert marts.of(broken).failure
        assert marts.of(sound).rows.height == 1


def test_merged_files_say_the_same(home: Home) -> None:
    for number in range(9):
        rows = rows_of(
            PlayerChurnFeatures, snapshot_date=[back(0)], player_id=[f"p-{number}"], unique_days_active=[number]
        )
        home.lake.append(PlayerChurnFeatures, rows)
    panel = next(panel for one in dashboards() for panel in one.panels if panel.chart == Chart.BANDS)
    marts = Marts(home.lake, [panel], every=3600)
    marts.look()
    before = marts.of(panel).rows
    assert before.to_dicts() == [
        {"snapshot_date": back(0), "0 days": 1, "1 to 3 days": 3, "4 to 10 days": 5, "11 or more days": 0}
    ]
    assert compact(home.lake, PlayerChurnFeatures) == 9
    marts.look()
    assert marts.of(panel).rows.equals(before)
    assert marts.of(panel).version != 0


def test_hostile_names_are_text_and_a_token_stays_on_every_link(home: Home) -> None:
    names = [text[:300] for text in HOSTILE]
    home.lake.replace(
        CampaignMetrics,
        rows_of(
            CampaignMetrics, metric_date=[YESTERDAY] * len(names), campaign_id=names, events=[*range(1, len(names) + 1)]
        ),
        [YESTERDAY],
    )
    token = "t0ken-of-sixteen-letters"
    with serving(home, token, tables=TABLES) as (client, _):
        assert client.get("/dashboards").status_code == 401
        for path in ("/dashboards", "/dashboards/players/top-campaigns"):
            answer = client.get(f"{path}?token={token}")
            read = Reader(answer.text)
            assert not {tag for tag, _ in read.tags} & {"script", "img", "iframe", "style"}
            assert not [a for _, a in read.tags if any(name == "style" or name.startswith("on") for name in a)]
            assert "unsafe" not in answer.headers["content-security-policy"]
            links = [str(a["href"]) for tag, a in read.tags if tag == "a" and str(a["href"]).startswith("/")]
            assert all(f"token={token}" in link for link in links)
            assert all(client.get(link).status_code == 200 for link in links)
        assert client.get("/static/web/dashboards.css").status_code == 200


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"columns": {}}, "one table"),
        ({"columns": {"a": DailyMetrics.dau, "b": PlayerRetention.cohort_size}}, "one table"),
        ({"columns": {"a": 1}}, "write Table.column"),
        ({"columns": {"a": CampaignMetrics.campaign_id}}, "no number"),
        ({"columns": {"a": PlayerChurnFeatures.total_events}, "by": PlayerChurnFeatures.player_id}, "single persons"),
        ({"columns": {"a": DailyMetrics.dau}, "below": {"b": DailyMetrics.wau}}, "below is for bars"),
        ({"chart": Chart.RANKING, "columns": {"a": CampaignMetrics.events}}, "name in `by`"),
        ({"chart": Chart.COHORTS, "columns": {"a": PlayerRetention.d1_retention}}, "weight is for cohorts"),
        ({"chart": Chart.BANDS, "columns": {"a": DailyMetrics.dau}}, "limits are for bands"),
        ({"chart": Chart.BANDS, "columns": {"a": DailyMetrics.dau}, "limits": (3, 1)}, "ascending"),
    ],
)  # fmt: skip
def test_a_panel_that_nobody_could_read_is_refused(declared: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Panel("Odd", "", **({"chart": Chart.LINES} | declared))  # type: ignore[arg-type]


def test_every_domain_of_ours_has_panels_and_titles_are_addresses() -> None:
    found = dashboards()
    assert [one.title for one in found] == ["Players", "Shop", "Churn", "Research"]
    assert {panel.table.key for one in found for panel in one.panels} >= {table.key for table in TABLES}
    panel = found[0].panels[0]
    with pytest.raises(TypeError, match="two panels"):
        Dashboard("Twice", (panel, panel))


def test_money_is_told_to_the_cent_and_by_currency(home: Home) -> None:
    rows = rows_of(
        MvDailyMetrics, metric_date=[back(0), back(0), back(1)], currency=["EUR", "USD", "EUR"],
        gross_revenue=[10.01, 5.5, 20.02], refunds=[0.03, 0.0, 0.0], returns=[0.0, 0.0, 0.0], orders=[1, 1, 2],
    )  # fmt: skip
    home.lake.replace(MvDailyMetrics, rows, [back(0), back(1)])
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/dashboards/shop/revenue-and-refunds?days=30").text
    found = re.findall(
        r"<bdi>(\w+)</bdi></figcaption>.*?gross revenue <strong>([^<]*)<.*?refunds <strong>([^<]*)<", page, re.S
    )
    assert found == [("EUR", "30.03", "0.03"), ("USD", "5.50", "0.00")]


def test_each_project_has_a_picture_also_where_two_tenants_call_theirs_alike(home: Home) -> None:
    tenants = ["aurora", "lumen"]
    rows = rows_of(
        ProjectHealthScores, score_date=[back(0)] * 2, tenant_id=tenants, project_id=["p", "p"],
        project=[f"{tenant}/p" for tenant in tenants], health_score=[70.0, 12.5],
    )  # fmt: skip
    home.lake.replace(ProjectHealthScores, rows, [back(0)])
    with serving(home, tables=TABLES) as (client, _):
        page = client.get("/dashboards/research/project-health?days=30").text
    found = re.findall(r"<bdi>([^<]*)</bdi></figcaption>.*?health <strong>([^<]*)<", page, re.DOTALL)
    assert found == [("aurora/p", "70"), ("lumen/p", "12.5")]


def test_a_domain_of_another_package_adds_its_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (PROJECT_ROOT / "docs/guides/bi.md").read_text()
    (declared,) = re.findall(r"```python\n(.*?DASHBOARD.*?)```", guide, re.DOTALL)
    (tmp_path / "newcomers").mkdir()
    (tmp_path / "newcomers/__init__.py").touch()
    (tmp_path / "newcomers/panels.py").write_text(declared)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = packages() | {"newcomers": tmp_path / "newcomers"}
    monkeypatch.setattr("data_platform.core.packages.packages", lambda: found)
    assert [one.title for one in dashboards.__wrapped__()] == ["Players", "Shop", "Churn", "Research", "Newcomers"]
    monkeypatch.setattr("data_platform.core.packages.packages", lambda: found | {"newcomers.again": found["newcomers"]})
    (tmp_path / "newcomers/again").mkdir()
    (tmp_path / "newcomers/again/__init__.py").touch()
    (tmp_path / "newcomers/again/panels.py").write_text(declared)
    with pytest.raises(PlatformError, match="Two dashboards are called “Newcomers”"):
        dashboards.__wrapped__()
