-- How well each discussion worked and what it cost; the method is in the contract. Counts are whole numbers until the last division.
with events as (
  select
    tenant_id, discussion_id, sequence, event_id, event_type, causation_id, question_id, persona_id, text,
    lead(event_type) over following as next_type,
    lead(causation_id) over following as next_cause
  from {{ source('research', 'discussion_events') }}
  window following as (partition by tenant_id, discussion_id order by sequence)
), causes as (
  select distinct tenant_id, discussion_id, causation_id as event_id, true as is_answered
  from events
  where event_type = 'response' and causation_id is not null
), counted as (
  select
    tenant_id,
    discussion_id,
    count(*) filter (event_type = 'response' and question_id is not null) as responses_to_questions,
    count(*) filter (
      event_type = 'followup' and (is_answered or next_type = 'response' and next_cause is null)
    ) as answered_followups
  from events left join causes using (tenant_id, discussion_id, event_id)
  group by all
), words as (
  select tenant_id, discussion_id, question_id, persona_id, word, count(*) as times
  from (select *, unnest({{ words_of('text') }}) as word from events where event_type = 'response')
  group by all
), vocabulary as (
  select tenant_id, discussion_id, {{ total('times') }} as words, count(distinct word) as different_words
  from words group by all
), sets as (
  select distinct tenant_id, discussion_id, question_id, persona_id, word
  from words where question_id is not null and persona_id is not null
), used as (
  select tenant_id, discussion_id, question_id, word, count(*) as personas from sets group by all
), questions as (
  select tenant_id, discussion_id, question_id, count(distinct persona_id) as personas, count(*) as words
  from sets group by all
), shared as (
  select tenant_id, discussion_id, question_id, sum(personas * (personas - 1)) as shared_by_pairs from used group by all
), compared as (
  select
    tenant_id,
    discussion_id,
    {{ total('shared_by_pairs') }} as shared,
    {{ total('(questions.personas - 1) * questions.words') }} as of_words
  from questions join shared using (tenant_id, discussion_id, question_id)
  where questions.personas > 1
  group by all
), costs as (
  select
    tenant_id,
    project_id,
    discussion_id,
    {{ total('calls') }} as llm_calls,
    {{ total('unpriced_calls') }} as unpriced_llm_calls,
    -- Calls without a price have a currency of their own, the empty one.
    case when min(currency) = max(currency) then sum(cost) end as llm_cost,
    case when min(currency) = max(currency) then nullif(min(currency), '') end as llm_currency
  from {{ ref('discussion_llm_costs') }}
  group by all
)
select
  tenant_id,
  discussion_id,
  focus_group_id,
  project_id,
  status,
  started_at,
  participants,
  questions,
  responses,
  case when questions > 0 then responses_to_questions / questions end as responses_per_question,
  case when questions > 0 then (epoch_us(last_event_at) - epoch_us(first_event_at)) / 1000000 / questions end
    as seconds_per_question,
  case when responses > 0 then coalesce(words, 0) / responses end as words_per_response,
  different_words / sqrt(words) as lexical_diversity,
  followups,
  answered_followups,
  case when followups > 0 then answered_followups / followups end as followups_answered,
  1 - shared / of_words as disagreement,
  coalesce(llm_calls, 0) as llm_calls,
  coalesce(unpriced_llm_calls, 0) as unpriced_llm_calls,
  llm_cost,
  llm_currency
from {{ source('research', 'discussions') }}
left join counted using (tenant_id, discussion_id)
left join vocabulary using (tenant_id, discussion_id)
left join compared using (tenant_id, discussion_id)
left join costs using (tenant_id, project_id, discussion_id)
