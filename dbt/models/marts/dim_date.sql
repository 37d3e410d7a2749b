{%- set first_month = var('fiscal_year_first_month') -%}
-- Whole calendar years around every day with an order.
with years as (
  select
    date_trunc('year', min(order_date))::date as first_day,
    (date_trunc('year', max(order_date)) + interval 1 year - interval 1 day)::date as last_day
  from {{ source('raw', 'order_changes') }}
), days as (
  select unnest(generate_series(first_day, last_day, interval 1 day))::date as date_day from years
), holidays as (
  select * from (values
    {%- for day, name in var('holidays').items() %}
    ('{{ day }}', '{{ name | replace("'", "''") }}'){{ ',' if not loop.last }}
    {%- endfor %}
  ) as given (day, name)
), fiscal as (
  -- Moved by the months before the fiscal year, a date falls into the calendar year that numbers its fiscal year.
  select *, (date_trunc('month', date_day) + interval {{ (13 - first_month) % 12 }} month)::date as moved from days
)
select
  date_day,
  year(date_day) as year,
  quarter(date_day) as quarter,
  month(date_day) as month,
  date_trunc('month', date_day)::date as month_start,
  date_day = last_day(date_day) as is_month_end,
  isoyear(date_day) as iso_year,
  week(date_day) as iso_week,
  strftime(date_day, '%G-W%V') as iso_week_label,
  isodow(date_day) as iso_weekday,
  isodow(date_day) >= 6 as is_weekend,
  year(moved) as fiscal_year,
  quarter(moved) as fiscal_quarter,
  month(moved) as fiscal_month,
  holidays.name as holiday
from fiscal
left join holidays on holidays.day in (strftime(date_day, '%m-%d'), strftime(date_day, '%Y-%m-%d'))
