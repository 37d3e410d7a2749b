-- Example mapping: a TinyTroupe session by turn (JSON lines: seq, source, agent, kind, text) as events of a discussion.
-- What the moderator says (CONVERSATION of USER) is a follow-up to whom it is said, what an agent says (TALK) a response,
-- with the THINK before it as `thought`. What agents hear of each other, and DONE, say nothing new and are left out.
WITH turns AS (
  SELECT seq::BIGINT AS seq, "source" AS speaker, agent, kind, text,
    'tinytroupe-' || left(md5(first_value(text) OVER (ORDER BY seq::BIGINT)), 8) AS discussion_id,
    CASE WHEN kind = 'TALK' THEN last_value(CASE WHEN kind LIKE 'TH%' THEN text END IGNORE NULLS) OVER (
      PARTITION BY agent ORDER BY seq::BIGINT ROWS UNBOUNDED PRECEDING
    ) END AS thought
  FROM input
), told AS (
  SELECT seq, discussion_id, agent,
    CASE WHEN kind = 'TALK' THEN 'response' ELSE 'followup' END AS event_type,
    {'text': text, 'thought': thought} AS event_data
  FROM turns
  WHERE kind = 'TALK' OR (kind = 'CONVERSATION' AND speaker = 'USER')
  UNION ALL
  SELECT -1, any_value(discussion_id), NULL, 'discussion_started', {'text': NULL, 'thought': NULL} FROM turns
  UNION ALL
  SELECT max(seq) + 1, any_value(discussion_id), NULL, 'discussion_ended', {'text': NULL, 'thought': NULL} FROM turns
)
SELECT
  discussion_id,
  row_number() OVER (ORDER BY seq) AS sequence,
  discussion_id || '-' || row_number() OVER (ORDER BY seq) AS event_id,
  event_type,
  CASE WHEN event_type = 'discussion_ended' THEN 1 ELSE 2 END AS event_version,
  event_data,
  lower(regexp_replace(agent, '[^A-Za-z0-9]+', '-', 'g')) AS persona_id,
  'tinytroupe' AS project_id,
  'tinytroupe' AS tenant_id,
  -- The lines tell no time: a minute from turn to turn.
  TIMESTAMPTZ '2025-07-17 10:00:00Z' + to_minutes(row_number() OVER (ORDER BY seq)) AS occurred_at
FROM told
