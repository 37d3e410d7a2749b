{#- A state in which an order has been paid; refunds are payments of their own, on their own day. -#}
{% macro is_paid(status) -%}
  ({{ status }} in ('paid', 'fulfilled', 'refunded', 'partially_refunded'))
{%- endmacro %}

{#- What an order adds to revenue: nothing until it is paid; a return takes away. -#}
{% macro revenue(orders, amount) -%}
  (case when not {{ orders }}.is_paid then 0
    when {{ orders }}.order_type = 'return' then -{{ amount }}
    else {{ amount }} end)
{%- endmacro %}
