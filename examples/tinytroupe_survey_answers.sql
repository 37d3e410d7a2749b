-- Example mapping: market-research CSVs of TinyTroupe as survey answers. A vote is a rating from 1 to 5, or a ranking
-- (`C-E-A-D-B`), which is a rating of each option: the place it was given. Respondents are people, told by number alone.
WITH answered AS (
  SELECT *,
    CASE WHEN to_json(input)->>'Parents' IS NULL THEN 'bottled-gazpacho' ELSE 'story-telling-device' END AS survey_id,
    CASE WHEN contains(Vote, '-') THEN string_split(Vote, '-') ELSE [Vote] END AS votes
  FROM input
), given AS (
  SELECT survey_id, "Responder #" AS respondent, "Age Range" AS age, "Gender Identity" AS gender,
    unnest(votes) AS option, generate_subscripts(votes, 1) AS place, contains(Vote, '-') AS is_ranking
  FROM answered
), told AS (
  SELECT survey_id, respondent, age, gender,
    CASE WHEN is_ranking THEN 'rank-' || option ELSE 'vote' END AS question_id,
    json_object('rating', CASE WHEN is_ranking THEN place ELSE option::BIGINT END) AS answer
  FROM given
  UNION ALL
  SELECT survey_id, "Responder #", "Age Range", "Gender Identity", 'explanation', json_object('text', Explanation)
  FROM answered
)
SELECT
  survey_id || '-' || respondent || '-' || question_id AS answer_id,
  survey_id,
  question_id,
  'tinytroupe' AS project_id,
  'tinytroupe' AS tenant_id,
  survey_id || '-' || respondent AS respondent_id,
  TIMESTAMPTZ '2025-07-19 00:00:00Z' AS answered_at,
  answer,
  age,
  gender
FROM told
