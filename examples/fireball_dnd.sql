-- Example mapping: one Dungeons & Dragons combat played on Discord (FIREBALL, JSON lines) as player events.
-- The lines carry no id of their own, so one is derived from the line's content; bot and system lines name no
-- author and are filed under their combat. `input` itself is the whole line, as it was written.
SELECT
  md5(input::VARCHAR) AS event_id,
  coalesce(author_id, caster->>'$.id', caster->>'$.name', 'combat:' || combat_id) AS player_id,
  combat_id AS campaign_id,
  event_type,
  input AS event_data,
  combat_id AS session_id,
  to_timestamp("timestamp"::DOUBLE) AS timestamp
FROM input
