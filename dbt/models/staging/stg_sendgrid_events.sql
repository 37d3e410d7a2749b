-- Events of SendGrid's webhook, each once. `user_id` is the custom argument that the application sends along; `rejection`
-- says of an object that it is no event.
with newest as (
  {{ newest_object('sendgrid_events') }}
)
select
  created_date as event_date,
  object_id as event_id,
  payload->>'$.sg_message_id' as message_id,
  payload->>'$.user_id' as user_id,
  payload->>'$.event' as event_type,
  created_at as occurred_at,
  case
    when {{ is_another_object('event') }} or coalesce(payload->>'$.event', '') = '' then 'not_an_event'
  end as rejection
from newest
