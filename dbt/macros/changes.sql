{#- Which of changes that nothing else orders comes last: a deletion is not undone by what came with it. -#}
{% macro strength() -%}
  case operation when 'delete' then 2 when 'update' then 1 else 0 end
{%- endmacro %}

{#- Where a change stands among those of its instant, first to last: by its sequence in the application's log (any is
    later than none; compared as a number), then by file, time of receipt and line; what is left, by content. -#}
{% macro later_first(columns) -%}
  length(sequence) desc nulls last, sequence desc nulls last, source_file desc, received_at desc, source_line desc,
  {{ strength() }} desc, {{ columns | join(' desc, ') }} desc
{%- endmacro %}

{#- A change told again in another file is a redelivery: it keeps the place of its first. Nearly every change is alone at
    its instant; looking at the others alone costs a third more than not looking, looking at all of them twice as much. -#}
{% macro told_first(relation, key, columns) %}
  {%- set instant = (key + ['changed_at']) | unique | join(', ') %}
  with log as (
    select * from {{ relation }}
  ), contested as (
    select {{ instant }} from log group by all having count(*) > 1
  )
  select * from log anti join contested using ({{ instant }})
  union all
  select * from log semi join contested using ({{ instant }})
  qualify rank() over (
    partition by {{ instant }}, sequence, operation, {{ columns | join(', ') }} order by source_file, received_at
  ) = 1
{% endmacro %}

{#- The newest change of each row, whatever the order of arrival. `columns` are all that a change says of the row. -#}
{% macro newest_change(relation, key, columns) %}
  select * from ({{ told_first(relation, key, columns) }})
  qualify row_number() over (
    partition by {{ key | join(', ') }} order by changed_at desc, {{ later_first(columns) }}
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
    select {{ key }}, {{ ended }} as ended, changed_at, {{ columns | join(', ') }}
    from ({{ told_first(relation, [key], columns) }})
    qualify row_number() over (partition by {{ key }}, changed_at order by {{ later_first(columns) }}) = 1
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
