{%- set weeks = var('cohort_weeks') -%}
-- Users by the week of their signup, followed week by week. A week without an end yet has no number.
with ends as (
  select week_end from ({{ days_of_the_run('week_end') }}) where isodow(week_end) = 7
), heard as (
  select *, min(changed_at) over (partition by tenant_id, user_id) as heard_at
  from {{ source('clean', 'research_user_changes') }}
), first_heard as (
  -- What is told of the signup in a later week is too late: the cohort was complete by then.
  select
    tenant_id,
    user_id,
    heard_at,
    coalesce(arg_min(signed_up_at, changed_at) filter (signed_up_at is not null), heard_at) as signed_up_at
  from heard
  where date_trunc('week', changed_at) = date_trunc('week', heard_at)
  group by tenant_id, user_id, heard_at
), signups as (
  -- What changed before the platform's first day is filed under that day, and is no signup of its week.
  select tenant_id, user_id, (date_trunc('week', heard_at) + interval 6 day)::date as week_end
  from first_heard
  where date_trunc('week', heard_at) = date_trunc('week', signed_up_at)
), active as (
  select distinct tenant_id, user_id, (date_trunc('week', activity_date) + interval 6 day)::date as active_week_end
  from {{ ref('user_activity_days') }}
), weeks as (
  select
    ends.week_end,
    signups.tenant_id,
    signups.user_id,
    (active.active_week_end - ends.week_end) // 7 as week
  from ends
  join signups on signups.week_end = ends.week_end
  left join active
    on active.tenant_id = signups.tenant_id and active.user_id = signups.user_id
    and active.active_week_end between ends.week_end and ends.week_end + {{ 7 * weeks }}
)
select
  week_end,
  week_end - 6 as cohort_week,
  tenant_id,
  count(distinct user_id) as cohort_users,
  {%- for week in range(weeks + 1) %}
  case when week_end + {{ 7 * week }} < getvariable('today')
    then count(*) filter (week = {{ week }}) / count(distinct user_id) end as week_{{ week }}{{ ',' if not loop.last }}
  {%- endfor %}
from weeks
group by week_end, tenant_id
