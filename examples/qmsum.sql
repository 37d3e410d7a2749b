-- Example mapping: a meeting of QMSum (JSON: transcript by speaker, questions with the turns that answer them) as events
-- of a discussion. Each turn is a response of its speaker's role; `question_id` is the first question whose answer the
-- turn is part of. The questions themselves, with spans and answers, are in the event that starts the discussion.
WITH meeting AS (
  SELECT 'qmsum-' || left(md5(meeting_transcripts), 12) AS discussion_id,
    from_json(meeting_transcripts, '[{"speaker": "VARCHAR", "content": "VARCHAR"}]') AS turns,
    from_json(specific_query_list, '[{"relevant_text_span": [["BIGINT"]]}]') AS queries,
    specific_query_list, general_query_list, topic_list
  FROM input
), spans AS (
  SELECT number, unnest(query.relevant_text_span) AS span
  FROM (SELECT unnest(queries) AS query, generate_subscripts(queries, 1) AS number FROM meeting)
), turns AS (
  SELECT discussion_id, unnest(turns) AS turn, generate_subscripts(turns, 1) - 1 AS place FROM meeting
), told AS (
  SELECT discussion_id, 1 AS sequence, 'discussion_started' AS event_type, NULL AS speaker,
    json_object('questions', specific_query_list::JSON, 'general_questions', general_query_list::JSON,
      'topics', topic_list::JSON) AS event_data
  FROM meeting
  UNION ALL
  SELECT discussion_id, place + 2, 'response', turn.speaker,
    json_object('text', turn.content, 'question_id', (
      SELECT 'q' || min(number) FROM spans WHERE place BETWEEN span[1] AND span[2]
    ))
  FROM turns
  UNION ALL
  SELECT discussion_id, len(turns) + 2, 'discussion_ended', NULL, '{}'::JSON FROM meeting
)
SELECT
  discussion_id,
  sequence,
  discussion_id || '-' || sequence AS event_id,
  event_type,
  CASE WHEN event_type = 'discussion_ended' THEN 1 ELSE 2 END AS event_version,
  event_data,
  lower(replace(speaker, ' ', '-')) AS persona_id,
  'qmsum' AS project_id,
  'qmsum' AS tenant_id,
  TIMESTAMPTZ '2025-01-06 09:00:00Z' + to_seconds(5 * sequence) AS occurred_at  -- the transcript tells no time
FROM told
