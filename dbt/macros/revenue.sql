{#- An order that was paid, whatever became of it: refunds are payments of their own, on their own day. -#}
{% macro is_paid(status) -%}
  ({{ status }} in ('paid', 'fulfilled', 'refunded', 'partially_refunded'))
{%- endmacro %}

{#- What an order adds to revenue: nothing until it is paid; a return takes away. -#}
{% macro revenue(orders, amount) -%}
  (case when not {{ is_paid(orders ~ '.status') }} then 0
    when {{ orders }}.order_type = 'return' then -{{ amount }}
    else {{ amount }} end)::decimal(18, 2)
{%- endmacro %}
