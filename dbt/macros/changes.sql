{#- How strong different changes at one instant are: a deletion is not undone by a retry that came with it. -#}
{% macro strength() -%}
  case operation when 'delete' then 0 when 'update' then 1 else 2 end
{%- endmacro %}

{#- The newest change of each row, chosen by content and never by arrival. `columns` break ties. -#}
{% macro newest_change(relation, key, columns) %}
  select * from {{ relation }}
  qualify row_number() over (
    partition by {{ key | join(', ') }} order by changed_at desc, {{ strength() }}, {{ columns | join(', ') }}
  ) = 1
{% endmacro %}

{#- What decides between changes of an order at one instant, the same for its newest change and for its history. -#}
{% macro order_ties() -%}
  {{ return(['status', 'currency', 'total_amount', 'user_id', 'order_type', 'ordered_at']) }}
{%- endmacro %}

{#- SCD2 versions from a change log: a version holds from its change to the entity's next one; a deletion (`ended`) ends
    the last one; a change that changes nothing starts none. Adds surrogate_key, valid_from, valid_to. -#}
{% macro versions(relation, key, columns, ended="operation = 'delete'") %}
  with once as (
    select {{ key }}, {{ ended }} as ended, changed_at, {{ columns | join(', ') }} from {{ relation }}
    qualify row_number() over (
      partition by {{ key }}, changed_at order by {{ strength() }}, {{ columns | join(', ') }}
    ) = 1
  ), compared as (
    select *, row(ended, {{ columns | join(', ') }}) as content from once
  ), different as (
    select * from compared
    qualify lag(content) over (partition by {{ key }} order by changed_at) is distinct from content
  ), bounded as (
    select *, lead(changed_at) over (partition by {{ key }} order by changed_at) as valid_to from different
  )
  select
    md5({{ key }} || '|' || epoch_us(changed_at)::varchar) as surrogate_key,
    {{ key }}, {{ columns | join(', ') }}, changed_at as valid_from, valid_to
  from bounded
  where not ended
{% endmacro %}
