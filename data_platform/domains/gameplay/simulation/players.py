"""Who plays: the players' habits, where they live, how content they are, and when they lose interest.

Only people. What they play is in `campaigns`, what a session looks like in `world` and `events`.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from data_platform.simulation.text import DAY, HOUR, MINUTE, Bools, Floats, Ints, uuids


@dataclass(frozen=True)
class Habit:
    """One kind of player: how often and how long they play when perfectly content."""

    name: str
    share: float
    weekday: float  # chance to play at all on a Monday to Friday
    weekend: float
    again: float  # chance of one more session on the same day
    minutes: float  # median session length
    skill: float  # mean of the difficulty they enjoy, 1-10


HABITS = (
    Habit("hardcore", 0.12, 0.92, 0.95, 0.45, 75, 7.0),
    Habit("regular", 0.38, 0.50, 0.62, 0.25, 48, 5.5),
    Habit("weekend", 0.18, 0.15, 0.88, 0.35, 65, 5.0),
    Habit("casual", 0.32, 0.22, 0.32, 0.10, 26, 4.0),
)
# country, share of players, hours ahead of UTC: evenings in Tokyo and in Los Angeles are 17 hours apart.
COUNTRIES = (
    ("US", 0.26, -6),
    ("CA", 0.06, -5),
    ("BR", 0.09, -3),
    ("GB", 0.10, 0),
    ("DE", 0.12, 1),
    ("FR", 0.08, 1),
    ("PL", 0.05, 1),
    ("IN", 0.07, 5),
    ("KR", 0.06, 9),
    ("JP", 0.08, 9),
    ("AU", 0.03, 10),
)
PLATFORMS = ("windows", "macos", "linux", "ios", "android", "playstation")
TIERS = ("free", "silver", "gold", "platinum")
_ADJECTIVES = ("Brave", "Silent", "Crimson", "Lucky", "Grim", "Swift", "Frosty", "Wandering", "Zoë's", "Iron", "Sleepy")
_NOUNS = ("Fox", "Raven", "Wizard", "Badger", "Golem", "Ranger", "Otter", "Bard", "Wyrm", "Druid", "Knight", "Łotr")

# The game is this many days old when the simulation starts; signups are spread evenly over its whole life.
DAYS_BEFORE = 60
# How long a player who lost interest still shows up, on average: what a churn model can see coming.
_FADING_DAYS = 7.0
_PEAK_HOUR = 20  # local time


class Players:
    """All players there will ever be, one array slot each, in order of signup. Not yet registered is simply later."""

    def __init__(self, count: int, days: int, start: int, rng: np.random.Generator) -> None:
        self.count = count
        self.signup_day = np.sort(np.floor(rng.uniform(-DAYS_BEFORE, days, count)).astype(np.int64))
        self.habit = rng.choice(len(HABITS), count, p=[habit.share for habit in HABITS])
        self.country = rng.choice(len(COUNTRIES), count, p=[share for _, share, _ in COUNTRIES])
        self.platform = rng.choice(len(PLATFORMS), count, p=[0.46, 0.10, 0.05, 0.12, 0.17, 0.10])
        self.tier = rng.choice(len(TIERS), count, p=[0.70, 0.18, 0.09, 0.03])
        self.device = rng.integers(0, 1 << 16, count)
        self.sociable = rng.beta(2.0, 2.2, count)
        self.skill = np.clip(rng.normal(np.array([habit.skill for habit in HABITS])[self.habit], 1.6), 1, 10)
        # Nobody signs up in the last ten minutes of a UTC day, so that the first session fits into the day of signup.
        evening = np.minimum(self.time_of_day(np.arange(count), rng), DAY - 10 * MINUTE)
        self.registered = start + self.signup_day * DAY + evening

        self.mood = np.clip(rng.normal(0.65, 0.15, count), 0.05, 1.0)
        self.fading = np.zeros(count, np.bool_)
        self.gone_since = np.full(count, -1, np.int64)  # simulation day, -1 while they may still play
        self.deleted = np.zeros(count, np.bool_)
        self.busy_until = np.zeros(count, np.int64)

        self.id = uuids(rng, count)
        adjective = pl.Series(_ADJECTIVES).gather(rng.integers(0, len(_ADJECTIVES), count))
        noun = pl.Series(_NOUNS).gather(rng.integers(0, len(_NOUNS), count))
        self._names = pl.DataFrame({"adjective": adjective, "noun": noun, "slot": np.arange(count)}).select(
            username=pl.concat_str("adjective", "noun", pl.col("slot") + 100),
            email=pl.format("player.{}@example.org", pl.col("slot") + 100),
        )

    def time_of_day(self, slots: Ints, rng: np.random.Generator) -> Ints:
        """When each of the given players likes to start, in ms after UTC midnight: around 20:00 where they live."""
        offset = np.array([hours for _, _, hours in COUNTRIES])[self.country[slots]]
        # Hardcore players keep odd hours.
        spread = np.where(self.habit[slots] == 0, 4.5, 2.6)
        hour = (_PEAK_HOUR - offset + rng.normal(0, spread)) % 24
        return (hour * HOUR).astype(np.int64)

    def rows(self, slots: Ints) -> pl.DataFrame:
        """The players table as it stands now, one row per given slot, times in ms."""
        return self._names[slots].select(
            self.id.gather(slots).alias("player_id"),
            "username",
            "email",
            pl.Series("country", [code for code, _, _ in COUNTRIES]).gather(self.country[slots]),
            pl.Series("platform", PLATFORMS).gather(self.platform[slots]),
            pl.Series("subscription_tier", TIERS).gather(self.tier[slots]),
            pl.Series("registered_at", self.registered[slots]),
        )

    def playing(self, day: int, weekend: bool, rng: np.random.Generator) -> Ints:
        """The slots of those who play on this day. Whoever signed up today certainly does."""
        chance = np.array([habit.weekend if weekend else habit.weekday for habit in HABITS])[self.habit]
        tenure = day - self.signup_day
        eager = 1 + 0.8 * np.exp(-np.maximum(tenure, 0) / 2)
        chance = np.minimum(chance * (0.35 + 0.9 * self.mood) * eager, 0.97)
        here = (tenure > 0) & (self.gone_since < 0)
        return np.flatnonzero((here & (rng.random(self.count) < chance)) | (tenure == 0))

    def live_through(self, day: int, match: Floats, rng: np.random.Generator) -> None:
        """Move everyone's mood one day on, and let some lose interest, leave, or come back.

        `match` is, per player, how well the campaign's difficulty suits them (0-1). Mood drifts towards what the
        player's company and campaign deserve; the hazard of losing interest grows as it sinks and is highest in the
        first days. Both causes show in the features: few social interactions, unsuitable difficulty, and then, while
        interest fades, fewer and shorter sessions for about a week before the last one.
        """
        content = 0.05 + 0.50 * self.sociable + 0.45 * match
        self.mood += 0.08 * (content - self.mood) + rng.normal(0, 0.03, self.count)
        self.mood[self.fading] *= 0.78
        np.clip(self.mood, 0.02, 1.0, out=self.mood)

        tenure = day - self.signup_day
        chance = rng.random(self.count)
        here = (tenure >= 0) & (self.gone_since < 0)
        hazard = 0.26 * np.exp(-6.0 * self.mood) * (1 + 4 * np.exp(-np.maximum(tenure, 0) / 3))
        bounced = (tenure == 0) & (chance < 0.60 - 0.45 * self.mood)
        leaves = here & (bounced | (self.fading & (chance < 1 / _FADING_DAYS)))
        self.fading |= here & (chance < hazard)
        self.gone_since[leaves] = day
        returns = (self.gone_since >= 0) & (day - self.gone_since > 20) & ~self.deleted & (chance < 0.002)
        self.gone_since[returns] = -1
        self.fading[returns] = False
        self.mood[returns] = 0.6

    def change_accounts(self, day: int, rng: np.random.Generator) -> Ints:
        """Change tier or platform of a few registered players; their slots. The content are likelier to subscribe."""
        settled = (self.signup_day < day) & ~self.deleted & (self.gone_since < 0)
        changed = np.flatnonzero(settled & (rng.random(self.count) < 0.004))
        tier = rng.random(len(changed)) < 0.8
        upgrade = rng.random(len(changed)) < self.mood[changed]
        step = np.where(self.tier[changed] == 0, 1, np.where(self.tier[changed] == len(TIERS) - 1, -1, 2 * upgrade - 1))
        self.tier[changed] += np.where(tier, step, 0)
        moved = rng.integers(1, len(PLATFORMS), len(changed))
        self.platform[changed] = np.where(
            tier, self.platform[changed], (self.platform[changed] + moved) % len(PLATFORMS)
        )
        return changed

    def long_gone(self, day: int) -> Bools:
        """Who left at least two days ago: even a session across midnight is over by then."""
        return (self.gone_since >= 0) & (self.gone_since <= day - 2) & ~self.deleted
