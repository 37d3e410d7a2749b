"""Contracts of players, campaigns and participation: change logs as received and clean, and their SCD2 histories.
The fields of each entity are said once, in its `*Fields` base. Not here: events."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.change_logs import ChangeFields, HistoryFields
from data_platform.core.contract.received import ReceivedChanges, RejectedLines
from data_platform.core.contract.table import Personal, Rule, Severity, Table, column

OWNER = "team:gameplay"
MOST_EXPERIENCE = 10**12
"""What a line may say of a character's experience; beyond it is rejected."""


class PlayerFields(Table):
    """What the application knows of a player."""

    owner = OWNER

    player_id: str = column("The player.", personal=Personal.PSEUDONYM, min_length=1)
    username: str | None = column("Name shown in the game.", personal=Personal.DIRECT)
    email: str | None = column("Address given at registration.", personal=Personal.DIRECT)
    country: str | None = column("ISO 3166 country code.")
    platform: str | None = column("Platform of registration, for example `pc`.")
    subscription_tier: str | None = column("For example `free` or `premium`.")
    registered_at: dt.datetime | None = column("When the player signed up (UTC).")


class CampaignFields(Table):
    """What the application knows of a campaign."""

    owner = OWNER

    campaign_id: str = column("The campaign.", min_length=1)
    name: str | None = column("Title of the campaign.")
    theme: str | None = column("For example `horror` or `high_fantasy`.")
    difficulty: float | None = column("1 (story) to 10 (brutal).", ge=1, le=10, severity=Severity.WARNING)
    status: str | None = column("For example `active`, `paused` or `completed`.")
    max_players: int | None = column("Seats.", unit="players")
    created_at: dt.datetime | None = column("When the campaign was created (UTC).")


class ParticipantFields(Table):
    """A player's character in a campaign."""

    owner = OWNER

    campaign_id: str = column("The campaign.", min_length=1)
    player_id: str = column("The player.", personal=Personal.PSEUDONYM, min_length=1)
    role: str | None = column("For example `tank` or `healer`.")
    character_name: str | None = column("Name of the character.", personal=Personal.CONTENT)
    character_level: int | None = column("Level of the character.", unit="level")
    experience: int | None = column("Experience points of the character.", unit="points")
    joined_at: dt.datetime | None = column("When the player joined the campaign (UTC).")
    last_active: dt.datetime | None = column("When the player last acted in the campaign (UTC).")


class RawPlayerChanges(PlayerFields, ChangeFields, ReceivedChanges):
    """Changes to players as received, duplicates included."""

    key = "raw/player_changes"
    primary_key = ("change_date", "source_file", "source_line", "received_at")


class RawPlayerChangesRejected(RejectedLines):
    """Lines of player change files that cannot be changes."""

    key = "raw/player_changes_rejected"
    owner = OWNER


class RawCampaignChanges(CampaignFields, ChangeFields, ReceivedChanges):
    """Changes to campaigns as received, duplicates included."""

    key = "raw/campaign_changes"
    primary_key = ("change_date", "source_file", "source_line", "received_at")


class RawCampaignChangesRejected(RejectedLines):
    """Lines of campaign change files that cannot be changes."""

    key = "raw/campaign_changes_rejected"
    owner = OWNER


class RawParticipantChanges(ParticipantFields, ChangeFields, ReceivedChanges):
    """Changes to campaign participation as received, duplicates included."""

    # Features add experience up in 64 bits: so bounded, nine million characters of one player stay within them.
    experience: int | None = column(
        "Experience points of the character.", unit="points", ge=-MOST_EXPERIENCE, le=MOST_EXPERIENCE
    )

    key = "raw/campaign_participant_changes"
    primary_key = ("change_date", "source_file", "source_line", "received_at")


class RawParticipantChangesRejected(RejectedLines):
    """Lines of participation change files that cannot be changes."""

    key = "raw/campaign_participant_changes_rejected"
    owner = OWNER


class PlayerChanges(PlayerFields, ChangeFields):
    """Changes to players, each once: what was known of whom, by the day it was known. Features read this."""

    key = "clean/player_changes"
    primary_key = ("change_date", "player_id", "changed_at")


class CampaignChanges(CampaignFields, ChangeFields):
    """Changes to campaigns, each once."""

    key = "clean/campaign_changes"
    primary_key = ("change_date", "campaign_id", "changed_at")


class ParticipantChanges(ParticipantFields, ChangeFields):
    """Changes to campaign participation, each once."""

    campaign_id: str = column("The campaign.", min_length=1, references=RawCampaignChanges.campaign_id)
    player_id: str = column(
        "The player.", personal=Personal.PSEUDONYM, min_length=1, references=RawPlayerChanges.player_id
    )

    key = "clean/campaign_participant_changes"
    primary_key = ("change_date", "campaign_id", "player_id", "changed_at")
    row_rules = (
        # Features look for `last_active` among the changes of the last 30 days alone; this is why they may.
        Rule(
            "last_active_before_change",
            "last_active ≤ changed_at",
            pl.col("last_active") <= pl.col("changed_at"),
            Severity.WARNING,
        ),
    )


class Players(PlayerFields, HistoryFields):
    """SCD2 history of players: one row per player and version; a deletion ends the last version."""

    key = "clean/players"
    primary_key = ("player_id", "valid_from")


class Campaigns(CampaignFields, HistoryFields):
    """SCD2 history of campaigns: one row per campaign and version."""

    key = "clean/campaigns"
    primary_key = ("campaign_id", "valid_from")


class CampaignParticipants(ParticipantFields, HistoryFields):
    """SCD2 history of campaign participation: one row per campaign, player and version."""

    key = "clean/campaign_participants"
    primary_key = ("campaign_id", "player_id", "valid_from")
