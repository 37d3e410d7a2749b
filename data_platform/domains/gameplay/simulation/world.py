"""One day of the pretend game after another: who plays when, in which campaign, and which table rows change by it.

Decides sessions and change rows; what happens inside a session is in `events`, how it is written in simulation/writer.
"""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from data_platform.domains.gameplay.simulation.campaigns import ACTIVE, COMPLETED, Campaigns, Participation
from data_platform.domains.gameplay.simulation.players import HABITS, Players
from data_platform.simulation.scenario import Scenario
from data_platform.simulation.text import DAY, HOUR, MINUTE, SECOND, Floats, Ints

_MOST_SESSIONS = 4  # a day
_MINUTES_PER_BEAT = 20  # a beat is a fight, a talk, a trade: 2.4 events on average, see `events`
_LONGEST = 480  # minutes
_WORLD, _DAYS = 0, 1  # streams of random numbers
TABLES = ("players", "campaigns", "campaign_participants")


@dataclass(frozen=True)
class Sessions:
    """The sessions that start on one day, one array slot each."""

    player: Ints
    campaign: Ints  # -1: outside any campaign
    start: Ints  # ms
    end: Ints  # ms, perhaps on the next day, perhaps after the simulation's end
    beats: Ints
    level_before: Ints
    level_after: Ints
    social: Floats  # chance of a beat to be a social one


class World:
    """The state of the game. `live(day)` must be called for each day in order, starting with 0."""

    def __init__(self, scenario: Scenario) -> None:
        self.players = Players(scenario.players, scenario.days, scenario.midnight(0), scenario.random(_WORLD, 0))
        self.campaigns = Campaigns()
        self.participation = Participation(scenario.players)
        self._scenario = scenario
        self._changes: dict[str, list[pl.DataFrame]] = {}
        self._played = pl.DataFrame(schema={"slot": pl.Int64, "last_active": pl.Int64, "experience": pl.Int64})

    def live(self, day: int) -> tuple[Sessions, dict[str, pl.DataFrame]]:
        """Live through one day: its sessions, and per table its change rows (times in ms, in order of `changed_at`)."""
        rng = self._scenario.random(_DAYS, day)
        today = self._scenario.midnight(day)
        self._changes = {table: [] for table in TABLES}
        self._sign_up(day, today, rng)
        turned = self.campaigns.turn(today, rng) if day else np.zeros(0, np.int64)
        self.participation.finish(self.campaigns)
        # In the first minute of the day, so that nearly all of the day's sessions come after.
        self._campaign_changes("update", turned, today + rng.integers(0, MINUTE, len(turned)))
        sessions = self._play(day, today, rng)
        self._change_accounts(day, today, rng)
        self.players.live_through(day, self.participation.match(self.players.skill, self.campaigns), rng)
        self._depart(day, today, rng)
        self._open_campaigns(day, today, rng)
        self._record_progress(today, rng)
        return sessions, {
            table: pl.concat(rows).sort("changed_at", maintain_order=True)
            for table, rows in self._changes.items()
            if sum(map(len, rows))
        }

    def _sign_up(self, day: int, today: int, rng: np.random.Generator) -> None:
        """Insert the day's new players. On day 0 the tables also arrive as they stood at midnight."""
        new = np.flatnonzero(self.players.signup_day == day)
        if day == 0:
            old = np.flatnonzero(self.players.signup_day < 0)
            self._player_changes("insert", old, np.full(len(old), today))
            seats = 2 * (len(old) + len(new)) + 40
            opened = self.campaigns.open(seats, today - 40 * DAY, today - DAY, rng)
            self._campaign_changes("insert", opened, np.full(len(opened), today))
            joined = self.participation.join(
                old, np.zeros_like(old), self.players.registered[old], self.players.skill[old], self.campaigns, rng
            )
            self.participation.settle(joined, today, rng)
            self._participation_changes("insert", joined, np.full(len(joined), today))
        self._player_changes("insert", new, self.players.registered[new])

    def _play(self, day: int, today: int, rng: np.random.Generator) -> Sessions:
        """The day's sessions. Those of one player never overlap, not even with yesterday's across midnight."""
        players, characters = self.players, self.participation
        weekend = (today // DAY + 3) % 7 >= 5  # 1970-01-01 was a Thursday
        playing = players.playing(day, weekend, rng)
        again = np.array([habit.again for habit in HABITS])
        minutes = np.log([habit.minutes for habit in HABITS])
        rounds: list[Sessions] = []
        for turn in range(_MOST_SESSIONS):
            if turn == 0:
                newcomer = players.signup_day[playing] == day
                at_once = players.registered[playing] + rng.integers(MINUTE, 4 * MINUTE, len(playing))
                start = np.where(newcomer, at_once, today + players.time_of_day(playing, rng))
            else:
                playing = playing[rng.random(len(playing)) < again[players.habit[playing]]]
                pause = rng.exponential(1.5 * HOUR, len(playing)).astype(np.int64)
                start = players.busy_until[playing] + 40 * MINUTE + pause
            start = np.maximum(start, players.busy_until[playing] + 2 * MINUTE)
            playing, start = playing[start < today + DAY], start[start < today + DAY]
            mood = players.mood[playing]
            length = np.exp(rng.normal(minutes[players.habit[playing]], 0.6)) * (0.35 + 0.9 * mood)
            length = np.clip(length, 3, _LONGEST)
            end = start + (length * MINUTE).astype(np.int64)
            players.busy_until[playing] = end
            beats = 1 + rng.poisson(length / _MINUTES_PER_BEAT)

            character = self._choose_character(playing, start, rng)
            inside = character >= 0
            slots = character[inside]
            before = np.ones(len(playing), np.int64)
            after = before.copy()
            before[inside] = characters.level(slots)
            gain = beats[inside] * rng.uniform(30, 60, len(slots))
            characters.experience[slots] += (gain * (1 + self._difficulty(slots) / 10)).astype(np.int64)
            after[inside] = characters.level(slots)
            played = {"slot": slots, "last_active": end[inside], "experience": characters.experience[slots]}
            self._played = pl.concat([self._played, pl.DataFrame(played)])

            campaign = np.full(len(playing), -1, np.int64)
            campaign[inside] = characters.campaign[slots]
            social = 0.04 + 0.45 * players.sociable[playing] * (0.5 + 0.5 * mood)
            rounds.append(Sessions(playing, campaign, start, end, beats, before, after, social))
        names = [field.name for field in fields(Sessions)]
        return Sessions(*(np.concatenate([getattr(one, name) for one in rounds]) for name in names))

    def _difficulty(self, characters: Ints) -> Ints:
        return self.campaigns.difficulty[self.participation.campaign[characters]]

    def _choose_character(self, playing: Ints, start: Ints, rng: np.random.Generator) -> Ints:
        """The character each session is played with, -1 for none; who has no campaign often joins one right then."""
        characters, count = self.participation, len(playing)
        # Hardcore and regular players lead a second life in another campaign.
        place = (rng.random(count) < 0.22) & (self.players.habit[playing] < 2)
        chosen = characters.current[playing, place.astype(np.int64)]
        joins = np.flatnonzero((chosen < 0) & (rng.random(count) < 0.7))
        rng.shuffle(joins)
        who = playing[joins]
        new = characters.join(
            who, place[joins].astype(np.int64), start[joins], self.players.skill[who], self.campaigns, rng
        )
        self._participation_changes("insert", new, characters.joined[new])
        chosen = characters.current[playing, place.astype(np.int64)]
        active = (
            self.campaigns.status[characters.campaign[chosen]] == ACTIVE if len(characters.campaign) else chosen >= 0
        )
        return np.where((chosen >= 0) & active, chosen, -1)

    def _change_accounts(self, day: int, today: int, rng: np.random.Generator) -> None:
        changed = self.players.change_accounts(day, rng)
        self._player_changes("update", changed, today + rng.integers(0, DAY, len(changed)))

    def _depart(self, day: int, today: int, rng: np.random.Generator) -> None:
        """Of those who stopped playing, a few leave their campaigns and fewer still delete their account."""
        gone, chance = self.players.long_gone(day), rng.random(self.players.count)
        at = today + rng.integers(0, DAY, self.players.count)
        deleted = gone & (chance < 0.004)
        left = np.zeros(0, np.int64)
        if len(self.participation.player):
            who = self.participation.player
            seat = self.campaigns.status[self.participation.campaign] != COMPLETED
            left = np.flatnonzero(
                ~self.participation.left & (deleted[who] | (gone[who] & seat & (chance[who] > 0.985)))
            )
        self._participation_changes("delete", left, at[self.participation.player[left]])
        self.participation.leave(left, self.campaigns)
        slots = np.flatnonzero(deleted)
        self._player_changes("delete", slots, at[slots])
        self.players.deleted |= deleted

    def _open_campaigns(self, day: int, today: int, rng: np.random.Generator) -> None:
        """Open what tomorrow's players will need: two offers for each expected to join."""
        signups = int(np.count_nonzero(self.players.signup_day == day + 1))
        homeless = int(np.count_nonzero((self.players.gone_since < 0) & (self.participation.current[:, 0] < 0)))
        missing = 2 * (signups + homeless // 2) + 40 - int(self.campaigns.free_seats().sum())
        if missing > 0 and day + 1 < self._scenario.days:
            opened = self.campaigns.open(missing, today, today + DAY, rng)
            self._campaign_changes("insert", opened, self.campaigns.created[opened])

    def _record_progress(self, today: int, rng: np.random.Generator) -> None:
        """Update each character after the last session that ended today; later ends wait for their day."""
        ended = pl.col("last_active") < today + DAY
        done = self._played.filter(ended).sort("slot", "last_active").unique("slot", keep="last", maintain_order=True)
        self._played = self._played.filter(~ended)
        slots, last_active = done["slot"].to_numpy(), done["last_active"].to_numpy()
        # A session begun since may already have moved the character on: report what was true when this one ended.
        experience = self.participation.experience[slots]
        self.participation.last_active[slots] = last_active
        self.participation.experience[slots] = done["experience"].to_numpy()
        at = np.minimum(last_active + rng.integers(0, 2 * SECOND, len(slots)), today + DAY - 1)
        self._participation_changes("update", slots, at)
        self.participation.experience[slots] = experience

    def _player_changes(self, operation: str, slots: Ints, at: Ints) -> None:
        self._note("players", operation, self.players.rows(slots), at)

    def _campaign_changes(self, operation: str, slots: Ints, at: Ints) -> None:
        self._note("campaigns", operation, self.campaigns.rows(slots), at)

    def _participation_changes(self, operation: str, slots: Ints, at: Ints) -> None:
        rows = self.participation.rows(slots, self.campaigns, self.players.id)
        self._note("campaign_participants", operation, rows, at)

    def _note(self, table: str, operation: str, rows: pl.DataFrame, at: Ints) -> None:
        self._changes[table].append(
            rows.with_columns(pl.lit(operation).alias("operation"), pl.Series("changed_at", at, dtype=pl.Int64))
        )
