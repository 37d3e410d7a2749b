{%- set z = 1.959963984540054 -%}
-- Distributions of answers; the newest answer of a respondent counts. Means are taken of the distribution, in order of the
-- values: sums of floats in any other order would differ in their last digits.
with newest as (
  select * from {{ source('clean', 'survey_answers') }}
  qualify row_number() over (
    partition by tenant_id, survey_id, question_id, respondent_id order by answered_at desc, answer_id desc
  ) = 1
), typed as (
  select
    tenant_id, survey_id, question_id, project_id, respondent_id, choices, rating, text,
    case
      when choice is not null then 'single_choice'
      when choices is not null then 'multiple_choice'
      when rating is not null then 'rating_scale'
      else 'open_text'
    end as question_type,
    case
      when choice is not null then [choice]
      when choices is not null then list_distinct(choices)
      when rating is not null then [{{ rating_as_text('rating') }}]
      else ['']
    end as given
  from newest
), asked as (
  {{ newest_of_log(source('clean', 'survey_question_changes'), ['tenant_id', 'survey_id', 'question_id']) }}
), offered as (
  select tenant_id, survey_id, question_id, project_id, question_type, option.atom->>'$' as value, option.id as place
  from asked, json_each(options, '$.options') as option
  where question_type in ('single_choice', 'multiple_choice') and option.type = 'VARCHAR'
  union all
  select
    tenant_id, survey_id, question_id, project_id, question_type,
    {{ rating_as_text('unnest(generate_series(scale_min, scale_max))') }} as value, null as place
  from asked
  where question_type = 'rating_scale' and scale_max - scale_min between 0 and 100
  union all
  select tenant_id, survey_id, question_id, project_id, question_type, '' as value, null as place
  from asked
  where question_type = 'open_text'
), options as (
  select
    tenant_id, survey_id, question_id, any_value(project_id) as project_id, question_type, value,
    row_number() over (partition by tenant_id, survey_id, question_id order by min(place)) as place,
    min(place) is not null as has_place
  from offered
  group by tenant_id, survey_id, question_id, question_type, value
), counted as (
  select
    tenant_id, survey_id, question_id, min(project_id) as project_id, question_type, value, count(*) as answers,
    any_value(rating) as rating
  from (select * exclude (given), unnest(given) as value from typed)
  group by tenant_id, survey_id, question_id, question_type, value
), asked_of as (
  select
    tenant_id, survey_id, question_id, question_type, count(*) as respondents,
    {{ total("case when question_type = 'open_text' then len(" ~ words_of('text') ~ ") end") }} as words
  from typed
  group by all
), means as (
  select
    tenant_id, survey_id, question_id, question_type, {{ total('answers') }} as n,
    sum(rating * answers order by rating) / sum(answers) as mean
  from counted
  where rating is not null
  group by all
), spread as (
  select
    tenant_id, survey_id, question_id, question_type, n, mean,
    sqrt(sum(answers * pow(rating - mean, 2) order by rating) / (n - 1) / n) as standard_error
  from counted join means using (tenant_id, survey_id, question_id, question_type)
  where n > 1
  group by tenant_id, survey_id, question_id, question_type, n, mean
), results as (
  select
    tenant_id, survey_id, question_id, question_type, value,
    coalesce(options.project_id, counted.project_id) as project_id,
    case when has_place then place end as place,
    options.value is not null as is_option,
    bool_or(options.value is not null) over (partition by tenant_id, survey_id, question_id, question_type) as has_options,
    rating,
    coalesce(answers, 0) as answers
  from options full join counted using (tenant_id, survey_id, question_id, question_type, value)
)
select
  tenant_id,
  survey_id,
  question_id,
  coalesce(asked.project_id, results.project_id) as project_id,
  asked.position,
  results.question_type,
  asked.question_type as asked_as,
  value,
  place,
  case
    when asked.question_type is distinct from results.question_type then null
    -- A rating may lie between two numbers of its scale.
    when results.question_type = 'rating_scale' then is_option or rating between scale_min and scale_max
    when has_options then is_option
  end as offered,
  coalesce(respondents, 0) as respondents,
  answers,
  answers / respondents as share,
  {{ wilson('answers', 'respondents', z, '-') }} as share_low,
  {{ wilson('answers', 'respondents', z, '+') }} as share_high,
  means.mean,
  means.mean - {{ student(z, 'spread.n - 1') }} * standard_error as mean_low,
  means.mean + {{ student(z, 'spread.n - 1') }} * standard_error as mean_high,
  case when results.question_type = 'open_text' then coalesce(words, 0) end as words
from results
left join asked_of using (tenant_id, survey_id, question_id, question_type)
left join means using (tenant_id, survey_id, question_id, question_type)
left join spread using (tenant_id, survey_id, question_id, question_type)
left join asked using (tenant_id, survey_id, question_id)
