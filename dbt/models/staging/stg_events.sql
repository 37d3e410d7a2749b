-- Clean player events under commerce's names; a player is the user of the same id.
select
  event_date,
  event_id,
  player_id as user_id,
  campaign_id,
  event_type,
  session_id,
  "timestamp" as occurred_at
from {{ source('clean', 'player_events') }}
