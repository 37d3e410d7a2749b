-- Example mapping: FiveThirtyEight's survey on flying (a row a respondent, a column a question) as survey answers: each
-- answer that was given is a single choice. Respondents are people, told by number alone.
SELECT
  RespondentID || '-' || left(md5(question), 8) AS answer_id,
  'flying-etiquette' AS survey_id,
  left(md5(question), 8) AS question_id,
  question,
  'fivethirtyeight' AS project_id,
  'fivethirtyeight' AS tenant_id,
  RespondentID AS respondent_id,
  TIMESTAMPTZ '2024-09-01 00:00:00Z' AS answered_at,
  json_object('choice', answer) AS answer
FROM (UNPIVOT input ON COLUMNS(* EXCLUDE RespondentID) INTO NAME question VALUE answer)
WHERE answer <> ''
