-- Example mapping: persona files of Microsoft's TinyTroupe (`*.agent.json`, one persona each) as changes of `personas`.
-- Everything that describes the persona stays: what has no column of its own is kept in `persona`.
SELECT
  lower(regexp_replace(persona->>'$.name', '[^A-Za-z0-9]+', '-', 'g')) AS persona_id,
  'tinytroupe' AS tenant_id,
  'tinytroupe' AS project_id,
  persona->>'$.name' AS name,
  persona->>'$.occupation.title' AS segment,
  {
    'age': persona->'$.age',
    'gender': persona->>'$.gender',
    'nationality': persona->>'$.nationality',
    'residence': persona->>'$.residence'
  } AS demographics,
  persona->>'$.occupation.description' AS background,
  {'beliefs': persona->'$.beliefs', 'long_term_goals': persona->'$.long_term_goals'} AS personal_values,
  persona::JSON AS persona,
  'insert' AS operation,
  TIMESTAMPTZ '2025-07-01 00:00:00Z' AS changed_at  -- the files tell no time
FROM input
