-- Example mapping: classification events of the citizen-science site Zooniverse (CSV export) as player events.
-- A mapping is one DuckDB SELECT over `input`, the file being ingested. It must yield event_id, player_id and
-- timestamp; all other event columns are optional; columns the platform does not know are kept as extra fields. Values
-- of CSV and JSON files are text, as they are written: cast what is computed with or compared.
SELECT
  classification_id AS event_id,
  user_name AS player_id,
  workflow_id AS campaign_id,
  'classification' AS event_type,
  -- Any STRUCT, MAP or JSON object will do; here two JSON texts of the file become one object.
  {'annotations': annotations::JSON, 'subject_data': subject_data::JSON} AS event_data,
  metadata->>'$.session' AS session_id,
  -- The server's clock. A text with a zone, a TIMESTAMPTZ, or a TIMESTAMP in UTC; for epochs: to_timestamp(seconds).
  created_at::TIMESTAMPTZ AS timestamp,
  -- The client's clock, which may be wrong; TRY_CAST keeps the row when it is no time at all.
  TRY_CAST(metadata->>'$.finished_at' AS TIMESTAMPTZ) AS client_timestamp,
  {
    'user_agent': metadata->>'$.user_agent',
    'viewport': metadata->'$.viewport',
    'utc_offset': metadata->>'$.utc_offset'
  } AS device_info
FROM input
