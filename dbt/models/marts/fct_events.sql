select
  events.event_date,
  events.event_id,
  events.user_id,
  case when users.valid_to is null or events.occurred_at < users.valid_to then users.surrogate_key end as user_key,
  events.campaign_id,
  events.event_type,
  events.session_id,
  events.occurred_at
from {{ ref('stg_events') }} as events
asof left join {{ ref('stg_user_versions') }} as users
  on events.user_id = users.user_id and events.occurred_at >= users.valid_from
where {{ in_window('events.event_date') }}
