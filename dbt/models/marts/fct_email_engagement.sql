select
  event_date,
  user_id,
  count(*) filter (event_type = 'delivered') as delivered,
  count(*) filter (event_type = 'open') as opens,
  count(*) filter (event_type = 'click') as clicks,
  count(*) filter (event_type in ('bounce', 'dropped')) as bounces,
  count(*) filter (event_type in ('unsubscribe', 'group_unsubscribe')) as unsubscribes,
  count(*) filter (event_type = 'spamreport') as spam_reports
from {{ ref('stg_sendgrid_events') }}
where {{ in_window('event_date') }} and user_id is not null and rejection is null
group by event_date, user_id
