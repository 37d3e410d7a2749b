-- Each active day of a player counts for the windows of the 30 days that begin with it.
with days as (
  select unnest(generate_series(getvariable('first_day'), getvariable('last_day'), interval 1 day))::date as activity_date
), active as (
  select days.activity_date, found.player_id, max(found.activity_date) as last_active
  from days
  join {{ source('gameplay', 'player_daily_activity') }} as found
    on found.activity_date between days.activity_date - 29 and days.activity_date
  group by all
)
select
  days.activity_date,
  count(player_id) filter (last_active = days.activity_date) as daily_active_users,
  count(player_id) filter (last_active > days.activity_date - 7) as weekly_active_users,
  count(player_id) as monthly_active_users
from days
left join active on active.activity_date = days.activity_date
group by days.activity_date
