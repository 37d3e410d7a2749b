"""Every domain brings its part of the simulation, those of installed packages too, and no part disturbs another.
Not here: what the game (domains/gameplay) and the shop (domains/commerce) are like."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from data_platform.core import packages
from data_platform.domains.commerce.simulation.shop import Shop
from data_platform.domains.gameplay.simulation.game import Game
from data_platform.simulation import simulate
from data_platform.simulation.company import Company, known_parts
from data_platform.simulation.scenario import Scenario

START = dt.date(2024, 2, 26)

GUILDS = """
import polars as pl

from data_platform.domains.gameplay.simulation.game import Game
from data_platform.simulation.company import Part


class Guilds(Part):
    def __init__(self, scenario, company):
        super().__init__(scenario, company)
        self._game = company.part(Game)
        self._written = 0

    def live(self, day, landing):
        who = self._game.sessions.player[:3]
        at = self.scenario.midnight(day) + self.scenario.random("guilds", day).integers(0, 86_400_000, len(who))
        rows = pl.DataFrame({"player_id": self._game.world.players.id.gather(who), "joined_at": at})
        landing.write_rows(self.scenario.date(day), "guild_joins", rows)
        self._written += len(rows)

    def finish(self, landing):
        return {"FACT": self._written}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The module `simulation` of a package that is installed beside ours."""
    package = tmp_path / "site" / "guilds_of_a_test"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    module = package / "simulation.py"
    module.write_text(GUILDS.replace("FACT", "guild_joins"))
    monkeypatch.syspath_prepend(str(package.parent))
    entry = EntryPoint("guilds", package.name, packages.DOMAINS)
    monkeypatch.setattr(packages, "entry_points", lambda group: [entry])
    packages.packages.cache_clear()
    yield module
    packages.packages.cache_clear()
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_an_installed_domain_takes_part_and_changes_nothing_of_the_others(installed: Path, tmp_path: Path) -> None:
    beside = simulate(60, 3, 1, START, tmp_path / "beside", dirty=True)
    packages.packages.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "entry_points", lambda group: [])
        alone = simulate(60, 3, 1, START, tmp_path / "alone", dirty=True)
    ours, all_of_it = content(alone.parent), content(beside.parent)
    joins = {f"guild_joins/{START + dt.timedelta(day)}-1.ndjson.gz" for day in range(3)}
    assert all_of_it.keys() - ours.keys() == joins
    truths = [json.loads(one.pop("truth.json")) for one in (ours, all_of_it)]
    assert truths[0] | {"guild_joins": 9} == truths[1]
    assert {name: all_of_it[name] for name in ours} == ours, "one domain's part changes no other's files"
    rows = [json.loads(line) for name in joins for line in gzip.decompress(all_of_it[name]).splitlines()]
    assert len(rows) == 9
    assert all(row["joined_at"] >= f"{START}T00:00:00.000Z" for row in rows)


def test_two_parts_do_not_call_their_facts_the_same(installed: Path, tmp_path: Path) -> None:
    installed.write_text(GUILDS.replace("FACT", "totals"))
    with pytest.raises(ValueError, match="Guilds calls a fact totals, which is taken"):
        simulate(5, 1, 1, START, tmp_path / "game")
    assert not (tmp_path / "game" / "truth.json").exists()


def test_a_part_lives_its_day_after_those_it_builds_on() -> None:
    assert {Game, Shop} <= {*known_parts()}
    order = [type(part) for part in Company(Scenario(5, 1, 1, str(START), dirty=False))]
    assert order.index(Game) < order.index(Shop)
    assert len(order) == len(set(order))


def test_streams_of_random_numbers_are_apart() -> None:
    scenario = Scenario(5, 1, 1, str(START), dirty=False)
    streams = [("guilds",), ("guilds", 0), ("guilds", 1), ("guilds", 1, 0), ("guilds", 10), ("quests", 0)]
    drawn = [scenario.random(*stream).integers(1 << 62) for stream in streams]
    assert len(set(drawn)) == len(streams)
    assert drawn == [scenario.random(*stream).integers(1 << 62) for stream in streams]


def test_another_simulation_in_the_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    truth = simulate(5, 2, 1, START, tmp_path)
    before = content(tmp_path)
    assert simulate(5, 2, 1, START, tmp_path) == truth == tmp_path / "truth.json"
    with pytest.raises(FileExistsError, match="empty folder"):
        simulate(5, 2, 2, START, tmp_path)
    assert content(tmp_path) == before
    with pytest.raises(ValueError, match="at least one"):
        simulate(0, 2, 1, START, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_progress_is_reported_and_nothing_hidden_stays(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    truth = simulate(20, 3, 1, START, tmp_path, progress=lambda done, of: reported.append((done, of)))
    assert reported == [(1, 3), (2, 3), (3, 3)]
    assert Scenario.of(truth) == Scenario(20, 3, 1, str(START), dirty=False)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
