{#- Inputs of RFM and BG/NBD models, one row per `key`: from one row per day with a paid order (the key, order_date,
    revenue, observed_until). -#}
{% macro lifetimes(purchases, key) %}
select
  {{ key | join(', ') }},
  frequency,
  last_order_date - first_order_date as recency,
  observed_until - first_order_date as observed_days,
  first_order_date,
  last_order_date,
  {{ money('revenue') }} as revenue,
  case when frequency > 0 then {{ mean_money('repeat_revenue', 'frequency') }} end as monetary_value
from (
  select
    {{ key | join(', ') }},
    any_value(observed_until) as observed_until,
    count(*) - 1 as frequency,
    min(order_date) as first_order_date,
    max(order_date) as last_order_date,
    sum(revenue) as revenue,
    sum(revenue) - arg_min(revenue, order_date) as repeat_revenue
  from {{ purchases }}
  group by all
)
{% endmacro %}
