"""What is played: campaigns, and the characters players have in them (campaign participation).

Knows players only by their slot number, and nothing of sessions or events.
"""

import numpy as np
import polars as pl

from data_platform.simulation.text import DAY, MINUTE, Bools, Floats, Ints, uuids

THEMES = ("dark_fantasy", "high_fantasy", "steampunk", "space_opera", "horror", "mystery", "post_apocalyptic")
STATUSES = ("active", "paused", "completed")
ROLES = ("tank", "healer", "damage", "support", "scout")
ACTIVE, PAUSED, COMPLETED = range(3)
MAX_LEVEL = 80
_PLACES = ("Keep", "Marches", "Depths", "Spire", "Harbour", "Wastes", "Court", "Forest", "Vault", "Crossing")
_MOODS = ("Broken", "Whispering", "Golden", "Last", "Drowned", "Burning", "Forgotten", "Hollow", "Silver", "Endless")
_TITLES = tuple(f"The {mood} {place} #" for mood in _MOODS for place in _PLACES)
_CHARACTERS = ("Aldric", "Mirelle", "Thorn", "Ysolde", "Kael", "Bríd", "Orrin", "Sable", "Vex", "Juno", "Ragna", "Pip")


def level_of(experience: Ints) -> Ints:
    """Character level for an amount of experience: 120 (one short session) is level 2, 10,000 is level 19."""
    return np.minimum(1 + ((experience / 50) ** (1 / 1.8)).astype(np.int64), MAX_LEVEL)


class Campaigns:
    """All campaigns so far, one slot each."""

    def __init__(self) -> None:
        self.id = pl.Series(dtype=pl.String)
        self.theme, self.difficulty, self.status, self.max_players, self.members, self.created, self.title = (
            np.zeros(0, np.int64) for _ in range(7)
        )

    def open(self, seats: int, earliest: int, latest: int, rng: np.random.Generator) -> Ints:
        """Create campaigns, at a moment between the two, until at least `seats` more players can join; their slots."""
        size = rng.choice(np.array([20, 40, 60, 100]), max(1, seats // 20 + 1))
        size = size[: int(np.searchsorted(np.cumsum(size), seats)) + 1]
        first, count = len(self.theme), len(size)
        self.id = pl.concat([self.id, uuids(rng, count)])
        self.theme = np.append(self.theme, rng.integers(0, len(THEMES), count))
        self.difficulty = np.append(self.difficulty, np.clip(np.round(rng.normal(5.3, 2.3, count)), 1, 10).astype(int))
        self.status = np.append(self.status, np.full(count, ACTIVE))
        self.max_players = np.append(self.max_players, size)
        self.members = np.append(self.members, np.zeros(count, np.int64))
        self.created = np.append(self.created, rng.integers(earliest, latest, count))
        self.title = np.append(self.title, rng.integers(0, len(_TITLES), count))
        return np.arange(first, first + count)

    def turn(self, now: int, rng: np.random.Generator) -> Ints:
        """Pause, resume and complete some campaigns at the turn of the day `now`; the slots that changed."""
        chance = rng.random(len(self.status))
        old = (now - self.created) > 20 * DAY
        completes = (self.status == ACTIVE) & old & (chance < 0.015)
        pauses = (self.status == ACTIVE) & ~completes & (chance > 0.995)
        resumes = (self.status == PAUSED) & (chance < 0.25)
        self.status[completes] = COMPLETED
        self.status[pauses] = PAUSED
        self.status[resumes] = ACTIVE
        return np.flatnonzero(completes | pauses | resumes)

    def free_seats(self) -> Ints:
        """Seats still free in each campaign, 0 unless it is active."""
        return np.where(self.status == ACTIVE, np.maximum(self.max_players - self.members, 0), 0)

    def rows(self, slots: Ints) -> pl.DataFrame:
        """The campaigns table as it stands now, one row per given slot, times in ms."""
        return pl.DataFrame(
            {
                "campaign_id": self.id.gather(slots),
                "name": pl.Series(_TITLES).gather(self.title[slots]) + pl.Series(slots + 1).cast(pl.String),
                "theme": pl.Series(THEMES).gather(self.theme[slots]),
                "difficulty": self.difficulty[slots],
                "status": pl.Series(STATUSES).gather(self.status[slots]),
                "max_players": self.max_players[slots],
                "created_at": self.created[slots],
            }
        )


class Participation:
    """Every character ever made, one slot each; and for every player the two campaigns they play now, -1 for none."""

    def __init__(self, players: int) -> None:
        self.campaign, self.player, self.role, self.name, self.experience, self.joined, self.last_active = (
            np.zeros(0, np.int64) for _ in range(7)
        )
        self.left: Bools = np.zeros(0, np.bool_)
        self.current: Ints = np.full((players, 2), -1, np.int64)

    def level(self, slots: Ints) -> Ints:
        return level_of(self.experience[slots])

    def join(
        self, players: Ints, place: Ints, at: Ints, skill: Floats, campaigns: Campaigns, rng: np.random.Generator
    ) -> Ints:
        """Let players (each at most once) join a campaign as their first or second (`place` 0 or 1); the new slots.

        Everyone is offered two free seats drawn at random and takes the one whose difficulty suits them better. Nobody
        gets a second character in a campaign, so some, and all when seats run out, stay without.
        """
        seats = rng.permutation(np.repeat(np.arange(len(campaigns.status)), campaigns.free_seats()))
        lucky = min(len(players), len(seats) // 2)
        players, place, at, skill = players[:lucky], place[:lucky], at[:lucky], skill[:lucky]
        offers = seats[: 2 * lucky].reshape(-1, 2)
        worse = np.abs(campaigns.difficulty[offers] - skill[:, None])
        chosen = np.where(worse[:, 0] <= worse[:, 1], offers[:, 0], offers[:, 1])
        fresh = ~np.isin(players << 32 | chosen, self.player << 32 | self.campaign, assume_unique=True)
        players, place, at, chosen = players[fresh], place[fresh], at[fresh], chosen[fresh]

        count, first = len(players), len(self.player)
        self.campaign = np.append(self.campaign, chosen)
        self.player = np.append(self.player, players)
        self.role = np.append(self.role, rng.choice(len(ROLES), count, p=[0.15, 0.18, 0.40, 0.15, 0.12]))
        self.name = np.append(self.name, rng.integers(0, len(_CHARACTERS), count))
        self.experience = np.append(self.experience, np.zeros(count, np.int64))
        self.joined = np.append(self.joined, at)
        self.last_active = np.append(self.last_active, at)
        self.left = np.append(self.left, np.zeros(count, np.bool_))
        slots = np.arange(first, first + count)
        self.current[players, place] = slots
        np.add.at(campaigns.members, chosen, 1)
        return slots

    def leave(self, slots: Ints, campaigns: Campaigns) -> None:
        """Remove characters from their campaigns and give the seats back."""
        self.left[slots] = True
        np.subtract.at(campaigns.members, self.campaign[slots], 1)
        self._forget(self.left)

    def finish(self, campaigns: Campaigns) -> None:
        """Free the places of players whose campaign was completed; the characters stay in the table."""
        self._forget(campaigns.status[self.campaign] == COMPLETED)

    def _forget(self, over: Bools) -> None:
        playing = np.nonzero(self.current >= 0)
        self.current[playing] = np.where(over[self.current[playing]], -1, self.current[playing])

    def match(self, skill: Floats, campaigns: Campaigns) -> Floats:
        """Per player, how well the difficulty of their first campaign suits them: 1 perfectly, 0 not at all."""
        slots = self.current[:, 0]
        if not len(self.campaign):
            return np.full(len(slots), 0.5)
        gap = np.abs(campaigns.difficulty[self.campaign[slots]] - skill)
        return np.where(slots >= 0, np.maximum(1 - gap / 4, 0), 0.5)

    def settle(self, slots: Ints, start: int, rng: np.random.Generator) -> None:
        """Give characters made before the simulation the experience and last session they would have by its start."""
        age = np.maximum(start - self.joined[slots], MINUTE)
        self.experience[slots] = (rng.gamma(1.5, 90.0, len(slots)) * age / DAY).astype(np.int64)
        self.last_active[slots] = start - np.minimum(rng.exponential(2 * DAY, len(slots)), age).astype(np.int64)

    def rows(self, slots: Ints, campaigns: Campaigns, player_id: pl.Series) -> pl.DataFrame:
        """The participation table as it stands now, one row per given slot, times in ms."""
        return pl.DataFrame(
            {
                "campaign_id": campaigns.id.gather(self.campaign[slots]),
                "player_id": player_id.gather(self.player[slots]),
                "role": pl.Series(ROLES).gather(self.role[slots]),
                "character_name": pl.Series(_CHARACTERS).gather(self.name[slots]),
                "character_level": self.level(slots),
                "experience": self.experience[slots],
                "joined_at": self.joined[slots],
                "last_active": self.last_active[slots],
            }
        )
