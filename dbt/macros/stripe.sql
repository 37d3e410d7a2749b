{#- The newest version of each object of an API; equal times are decided by content. -#}
{% macro newest_object(table) %}
  select * from {{ source('raw', table) }}
  qualify row_number() over (
    partition by object_id order by observed_at desc, md5(payload), created_at
  ) = 1
{% endmacro %}

{#- The id in a field of a Stripe object, which is the id itself, or the whole object when the connector expands it. -#}
{% macro id_in(object, field) -%}
  coalesce({{ object }}->>'$.{{ field }}.id', {{ object }}->>'$.{{ field }}')
{%- endmacro %}

{#- An object of another kind in the wrong folder; connectors that leave the kind out are believed. -#}
{% macro is_another_object(kind) -%}
  coalesce(payload->>'$.object', '{{ kind }}') <> '{{ kind }}'
{%- endmacro %}

{#- Charges and refunds have the fields of a payment in common; `more` are columns that the other has not. -#}
{% macro newest_payment(table, kind, charge, order, minor_units, more={}) %}
with newest as (
  {{ newest_object(table) }}
), typed as (
  select
    created_date as payment_date,
    object_id as payment_id,
    {{ charge }} as charge_id,
    {{ order }} as order_id,
    upper(payload->>'$.currency') as currency,
    {{ minor_units }} as minor_units,
    payload->>'$.status' as status,
    created_at,
    {%- for name, value in more.items() %}
    {{ value }} as {{ name }},
    {%- endfor %}
    {{ is_another_object(kind) }} as is_another_object
  from newest
)
select
  * exclude (is_another_object),
  {{ from_minor_units('minor_units', 'currency') }} as amount,
  case
    when is_another_object then 'not_a_{{ kind }}'
    when currency is null or currency not in {{ known_currencies() }} then 'unknown_currency'
    {{ unless_minor_units('minor_units', 'amount') }}
    when amount < 0 then 'negative_amount'
    when status is null then 'missing_status'
  end as rejection
from typed
{% endmacro %}
