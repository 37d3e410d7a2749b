"""What happens inside sessions: beats of play, the events they consist of, and how an event reads as JSON.

One row per event from here on. Takes sessions as given, and writes no files.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from data_platform.domains.gameplay.simulation.players import PLATFORMS, Players
from data_platform.domains.gameplay.simulation.world import Sessions
from data_platform.simulation.text import HOUR, Ints, iso_fragment, uuids

# A line is its fragments joined by commas; a null one is a missing field, `extra` is for unknown ones. The first brings
# the opening brace and the last the closing one: adding them to the joined line would double the cost of joining it.
FRAGMENTS = (
    *("event_id", "player_id", "campaign_id", "event_type", "event_data", "session_id"),
    *("timestamp", "client_timestamp", "extra", "device_info"),
)

# An event's data is one of 4,096 prepared per type: 256 that the events of one beat have in common (the enemy of a
# fight, the quest) times 16 of its own. Preparing them once is what makes 15 kinds of JSON object cost a lookup.
_SHARED, _OWN = 256, 16
_VARIANTS = _SHARED * _OWN

_ENEMIES = (
    "goblin",
    "wolf",
    "bandit",
    "skeleton",
    "ogre",
    "wraith",
    "troll",
    "harpy",
    "cultist",
    "drake",
    "golem",
    "imp",
)
_SPELLS = ("fireball", "heal", "ice_lance", "shield", "chain_lightning", "blink", "curse", "revive")
_ITEMS = ("sword", "bow", "staff", "helmet", "ring", "potion", "scroll", "boots", "amulet", "gem")
_RARITIES = ("common",) * 9 + ("uncommon",) * 4 + ("rare",) * 2 + ("epic",)
_LOCATIONS = ("tavern", "market", "crypt", "old_forest", "harbour", "castle", "mines", "swamp", "library", "temple")
_NPCS = ("innkeeper", "captain", "oracle", "smith", "ferryman", "queen", "hermit", "spy")
_CHANNELS = ("party", "campaign", "whisper", "global")

# type → data, from the number its beat shares (0-255) and one of its own (0-15)
_CATALOGUE: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "login": lambda s, o: {"method": ("password", "sso", "token")[o % 3], "queue_seconds": s // 8},
    "logout": lambda s, o: {"reason": "user" if o < 12 else "timeout", "clean": o < 14},
    "combat_start": lambda s, o: {"enemy": _ENEMIES[s % 12], "enemy_level": 1 + s // 8, "ambush": o == 0},
    "combat_end": lambda s, o: {
        "enemy": _ENEMIES[s % 12],
        "result": "victory" if o < 12 else ("fled" if o < 14 else "defeat"),
        "damage_dealt": 20 + s * 3 + o * 17,
        "damage_taken": 5 + s % 40 + o * 6,
    },
    "spell_cast": lambda s, o: {"spell": _SPELLS[(s + o) % 8], "mana_cost": 5 + o * 3, "damage": s // 2 + o * 5},
    "dialogue_choice": lambda s, o: {"npc": _NPCS[s % 8], "choice": 1 + o % 4, "tone": ("kind", "bold", "sly")[o % 3]},
    "item_acquired": lambda s, o: {"item": _ITEMS[s % 10], "rarity": _RARITIES[o], "quantity": 1 + (s * o) % 3},
    "party_join": lambda s, o: {"party": f"party-{s:03d}", "size": 2 + o % 4},
    "party_leave": lambda s, o: {"party": f"party-{s:03d}", "reason": "finished" if o < 12 else "left"},
    "message_sent": lambda s, o: {"channel": _CHANNELS[s % 4], "length": 3 + s // 4 + o * 11},
    "trade_completed": lambda s, o: {
        "item": _ITEMS[s % 10],
        "gold": 10 + s * 5 + o * 37,
        "with": ("npc", "player")[o % 2],
    },
    "quest_started": lambda s, o: {"quest": f"quest-{s:03d}", "giver": _NPCS[o % 8]},
    "quest_completed": lambda s, o: {"quest": f"quest-{s:03d}", "gold": 50 + s + o * 25, "experience": 100 + s * 2},
    "location_entered": lambda s, o: {"location": _LOCATIONS[s % 10], "zone_level": 1 + s // 10, "first_visit": o < 3},
    "level_up": lambda s, o: {"new_level": s, "attribute": ("strength", "wit", "grace", "luck")[o % 4]},
}
EVENT_TYPES = tuple(_CATALOGUE)
_LOGIN, _LOGOUT, _LEVEL_UP = (EVENT_TYPES.index(name) for name in ("login", "logout", "level_up"))

# What a player does next: the events of the beat, and how often (of 100) alone and in company.
_BEATS: tuple[tuple[str, int, int], ...] = (
    ("combat_start spell_cast combat_end", 26, 0),
    ("combat_start spell_cast spell_cast combat_end item_acquired", 12, 0),
    ("dialogue_choice dialogue_choice", 22, 0),
    ("location_entered dialogue_choice", 20, 0),
    ("quest_started location_entered dialogue_choice quest_completed item_acquired", 8, 0),
    ("item_acquired", 12, 0),
    ("party_join message_sent combat_start spell_cast combat_end party_leave", 0, 25),
    ("message_sent message_sent", 0, 50),
    ("trade_completed", 0, 25),
)
_PARTY = 6
_BEAT_EVENTS = np.full((len(_BEATS), 6), -1, np.int64)
for _row, (_names, _, _) in zip(_BEAT_EVENTS, _BEATS, strict=True):
    _row[: len(_names.split())] = [EVENT_TYPES.index(name) for name in _names.split()]
_BEAT_LENGTH = (_BEAT_EVENTS >= 0).sum(axis=1)
_NEXT_BEAT = np.array(
    [
        np.repeat(np.arange(len(_BEATS)), [alone for _, alone, _ in _BEATS]),
        np.repeat(np.arange(len(_BEATS)), [company for _, _, company in _BEATS]),
    ]
)


@dataclass(frozen=True)
class Texts:
    """The JSON fragments that event rows point into, by the row's `player`, `campaign`, `body` and `device`."""

    player: pl.Series
    campaign: pl.Series  # slot 0 is null, campaign c is slot c + 1
    event_type: pl.Series
    event_data: pl.Series
    device: pl.Series


@cache
def catalogue() -> tuple[pl.Series, pl.Series]:
    """The fragments of `event_type` (one per type) and `event_data` (4,096 per type, in the order of EVENT_TYPES)."""
    compact = json.JSONEncoder(separators=(",", ":")).encode
    types = [f'"event_type":"{name}"' for name in EVENT_TYPES]
    data = [
        f'"event_data":{compact(describe(shared, own))}'
        for describe in _CATALOGUE.values()
        for shared in range(_SHARED)
        for own in range(_OWN)
    ]
    return pl.Series(types), pl.Series(data)


# per platform: operating system versions, device models
_DEVICES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "windows": (("10.0.19045", "11.0.22631"), ("desktop", "laptop", "handheld")),
    "macos": (("13.6", "14.2"), ("MacBookPro18,1", "Macmini9,1", "iMac21,1")),
    "linux": (("6.1", "6.6"), ("desktop", "SteamDeck", "laptop")),
    "ios": (("16.7", "17.2"), ("iPhone14,5", "iPhone15,2", "iPad13,4")),
    "android": (("13", "14"), ("Pixel 7", "SM-S911B", "Redmi Note 12")),
    "playstation": (("8.50", "9.00"), ("CFI-1216A", "CFI-2016A", "CFI-1116B")),
}
_DEVICES_PER_PLATFORM, _RELEASES = 6, 2


def devices(day: int) -> pl.Series:
    """The fragments of `device_info` on a day: each device with the newest app version (one every 14 days) and the one
    before."""
    return pl.Series(
        f'"device_info":{{"platform":"{name}","os_version":"{os}","app_version":"2.{9 + day // 14 - lag}.0",'
        f'"device_model":"{model}"}}}}'
        for name in PLATFORMS
        for os in _DEVICES[name][0]
        for model in _DEVICES[name][1]
        for lag in range(_RELEASES)
    )


def devices_of(players: Players) -> Ints:
    """Which of `devices` every player uses now."""
    own = players.device % (_DEVICES_PER_PLATFORM * _RELEASES)
    return players.platform * (_DEVICES_PER_PLATFORM * _RELEASES) + own


def happenings(sessions: Sessions, device: Ints, rng: np.random.Generator) -> pl.DataFrame:
    """Play the sessions. One row per event, unsorted: `at`, `client` (ms), `player`, `campaign`, `body`, `device`
    (slots in `Texts`) and `session_id` (a fragment).

    A session is login, beats, level-ups strewn between them, and in 94 of 100 cases a logout.
    """
    count = len(sessions.player)
    session_of_beat = np.repeat(np.arange(count), sessions.beats)
    beats = len(session_of_beat)
    company = rng.random(beats) < sessions.social[session_of_beat]
    beat = _NEXT_BEAT[company.astype(np.int64), rng.integers(0, 100, beats)]
    shared = rng.integers(0, _SHARED, beats)
    # Who plays the same campaign in the same three hours is in the same party.
    party = np.flatnonzero(beat == _PARTY)
    mates = session_of_beat[party]
    shared[party] = (sessions.campaign[mates] * 31 + sessions.start[mates] // (3 * HOUR)) % _SHARED

    length = _BEAT_LENGTH[beat]
    of_beat = np.repeat(np.arange(beats), length)
    step = np.arange(len(of_beat)) - np.repeat(np.cumsum(length) - length, length)
    session = session_of_beat[of_beat]
    kind = _BEAT_EVENTS[beat[of_beat], step]
    variant = shared[of_beat] * _OWN + rng.integers(0, _OWN, len(of_beat))
    per_session = np.bincount(session, minlength=count)
    place = np.arange(len(session)) - np.repeat(np.cumsum(per_session) - per_session, per_session)
    moment = (place + rng.uniform(0.05, 0.95, len(place))) / per_session[session]

    levels = sessions.level_after - sessions.level_before
    rising = np.repeat(np.arange(count), levels)
    rise = np.arange(len(rising)) - np.repeat(np.cumsum(levels) - levels, levels)
    new_level = sessions.level_before[rising] + rise + 1
    proper_end = np.flatnonzero(rng.random(count) < 0.94)

    every = np.arange(count)
    edges = count + len(proper_end)
    session = np.concatenate([session, rising, every, proper_end])
    kind = np.concatenate(
        [kind, np.full(len(rising), _LEVEL_UP), np.full(count, _LOGIN), np.full(len(proper_end), _LOGOUT)]
    )
    variant = np.concatenate(
        [variant, new_level * _OWN + rng.integers(0, _OWN, len(rising)), rng.integers(0, _VARIANTS, edges)]
    )
    moment = np.concatenate([moment, (rise + 0.5) / levels[rising], np.zeros(count), np.ones(len(proper_end))])

    start, player = sessions.start[session], sessions.player[session]
    at = start + (moment * (sessions.end[session] - start)).astype(np.int64)
    in_lobby = (kind == _LOGIN) | (kind == _LOGOUT)
    return pl.DataFrame(
        {
            "at": at,
            "client": at - 20 - (rng.standard_exponential(len(at)) * 120).astype(np.int64),
            "player": player.astype(np.uint32),
            "campaign": np.where(in_lobby, 0, sessions.campaign[session] + 1).astype(np.uint32),
            "body": (kind * _VARIANTS + variant).astype(np.uint32),
            "device": device[player].astype(np.uint32),
            "session_id": uuids(rng, count, '"session_id":"', '"').gather(session),
        }
    )


def with_ids(events: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Give every row its `event_id` (a fragment)."""
    return events.with_columns(uuids(rng, len(events), '{"event_id":"', '"').alias("event_id"))


def fragments(events: pl.DataFrame, texts: Texts) -> pl.DataFrame:
    """Event rows as FRAGMENTS, one text column per field."""
    return events.select(
        "event_id",
        texts.player.gather(events["player"]).alias("player_id"),
        texts.campaign.gather(events["campaign"]).alias("campaign_id"),
        texts.event_type.gather(events["body"] // _VARIANTS).alias("event_type"),
        texts.event_data.gather(events["body"]).alias("event_data"),
        "session_id",
        iso_fragment("timestamp", "at").alias("timestamp"),
        iso_fragment("client_timestamp", "client").alias("client_timestamp"),
        pl.lit(None, pl.String).alias("extra"),
        texts.device.gather(events["device"]).alias("device_info"),
    )


def lines(rows: pl.DataFrame) -> pl.DataFrame:
    """FRAGMENTS as one JSON object per row, in the column `line`."""
    return rows.select(pl.concat_str(FRAGMENTS, separator=",", ignore_nulls=True).alias("line"))
