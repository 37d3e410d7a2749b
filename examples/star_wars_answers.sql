-- Example mapping: FiveThirtyEight's Star Wars survey (CSV in Latin-1: --encoding latin-1) as survey answers. Its second
-- line is a header too: it names the options of questions that take several columns, whose first alone has the question
-- (the others are column4 to column8, and so on). Films seen are one multiple choice, a film's place in the ranking is a
-- rating, an opinion of a character a single choice. Respondents are people, told by number alone.
WITH cells AS (
  UNPIVOT input ON COLUMNS(* EXCLUDE RespondentID) INTO NAME question VALUE answer
), options AS (
  SELECT question, answer AS option FROM cells WHERE coalesce(RespondentID, '') = ''
), given AS (
  SELECT RespondentID AS respondent, answer, option,
    CASE
      WHEN question LIKE 'Which of the following%' OR question IN ('column4', 'column5', 'column6', 'column7', 'column8')
        THEN 'seen'
      WHEN question LIKE 'Please rank%' OR question IN ('column10', 'column11', 'column12', 'column13', 'column14')
        THEN 'rank: ' || option
      WHEN option <> 'Response' THEN 'opinion: ' || option
      ELSE question
    END AS question
  FROM cells JOIN options USING (question)
  WHERE RespondentID <> '' AND answer <> ''
), told AS (
  SELECT respondent, question,
    CASE WHEN question LIKE 'rank: %' THEN json_object('rating', answer::BIGINT) ELSE json_object('choice', answer) END AS answer
  FROM given WHERE question <> 'seen'
  UNION ALL
  SELECT respondent, question, json_object('choices', list(answer ORDER BY answer)) FROM given
  WHERE question = 'seen' GROUP BY ALL
)
SELECT
  respondent || '-' || left(md5(question), 8) AS answer_id,
  'star-wars' AS survey_id,
  left(md5(question), 8) AS question_id,
  question,
  'fivethirtyeight' AS project_id,
  'fivethirtyeight' AS tenant_id,
  respondent AS respondent_id,
  TIMESTAMPTZ '2024-07-01 00:00:00Z' AS answered_at,
  answer
FROM told
