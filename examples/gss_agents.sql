-- Example mapping: agent profiles built on respondents of the General Social Survey (genagents, JSON lines) as changes of
-- `personas`. All thirty attributes are there: names and address apart, what one believes as values, the rest as
-- demographics.
SELECT
  agent_id AS persona_id,
  'gss' AS tenant_id,
  first_name || ' ' || last_name AS name,
  highest_degree_received AS segment,
  json_merge_patch(to_json(input), '{
    "agent_id": null, "first_name": null, "last_name": null, "street_address": null,
    "political_views": null, "party_identification": null, "religion": null
  }') AS demographics,
  first_name || ' lives in ' || street_address || ', ' || city || ', ' || state || '.' AS background,
  {'political_views': political_views, 'party_identification': party_identification, 'religion': religion} AS personal_values,
  'insert' AS operation,
  TIMESTAMPTZ '2024-06-01 00:00:00Z' AS changed_at  -- the lines tell no time
FROM input
