{#- SCD2 versions from a clean change log, which has one row per entity and instant: a version holds from its change to the
    entity's next one; a deletion ends the last one; a change of other columns starts none. Adds surrogate_key, valid_from,
    valid_to. -#}
{% macro log_versions(log, key, columns) %}
  {%- set entity = key | join(', ') %}
  with compared as (
    select *, row(operation = 'delete', {{ columns | join(', ') }}) as content from {{ log }}
  ), different as (
    select * from compared
    qualify lag(content) over (partition by {{ entity }} order by changed_at) is distinct from content
  ), bounded as (
    select *, lead(changed_at) over (partition by {{ entity }} order by changed_at) as valid_to from different
  )
  select
    md5(to_json([{{ entity }}, epoch_us(changed_at)::varchar])::varchar) as surrogate_key,
    {{ entity }}, {{ columns | join(', ') }}, changed_at as valid_from, valid_to
  from bounded
  where operation <> 'delete'
{% endmacro %}

{#- Versions as facts look for them: the first one also holds before it began. -#}
{% macro versions_for_facts(versions, key) %}
  select
    *,
    case
      when row_number() over (partition by {{ key | join(', ') }} order by valid_from) = 1 then '-infinity'::timestamptz
      else valid_from
    end as found_from
  from {{ versions }}
{% endmacro %}

{#- The version's key, if it held at the moment, or began later on the day. -#}
{% macro key_at(version, moment, day) -%}
  case
    when {{ version }}.valid_from < {{ day }} + 1 and ({{ version }}.valid_to is null or {{ moment }} < {{ version }}.valid_to)
      then {{ version }}.surrogate_key
  end
{%- endmacro %}

{#- The days of the run as rows. -#}
{% macro days_of_the_run(name) -%}
  select unnest(generate_series(getvariable('first_day'), getvariable('last_day'), interval 1 day))::date as {{ name }}
{%- endmacro %}

{#- Whether a version held at the end of a day. -#}
{% macro held_at_the_end(version, day) -%}
  {{ version }}.valid_from < {{ day }} + 1 and ({{ version }}.valid_to is null or {{ version }}.valid_to >= {{ day }} + 1)
{%- endmacro %}

{#- What names a project among those of all tenants. -#}
{% macro project_of(tenant, project) -%}
  {{ tenant }} || '/' || {{ project }}
{%- endmacro %}

{#- Runs of letters and digits of any script, small letters. -#}
{% macro words_of(text) -%}
  regexp_extract_all(lower({{ text }}), '[\p{L}\p{M}\p{N}]+')
{%- endmacro %}

{#- What is held now of each entity of a clean change log. -#}
{% macro newest_of_log(log, key) %}
  select * exclude (is_newest) from (
    select *, row_number() over (partition by {{ key | join(', ') }} order by changed_at desc) = 1 as is_newest from {{ log }}
  )
  where is_newest and operation <> 'delete'
{% endmacro %}

{#- A rating as text: 4, not 4.0. -#}
{% macro rating_as_text(rating) -%}
  regexp_replace(({{ rating }})::double::varchar, '\.0$', '')
{%- endmacro %}

{#- An end of Wilson's interval for `hits` of `n`; `side` is - or +. Null without any. -#}
{% macro wilson(hits, n, z, side) -%}
  case when {{ n }} > 0 then greatest(0, least(1,
    ({{ hits }} + {{ z * z / 2 }} {{ side }} {{ z }} * sqrt({{ hits }} * ({{ n }} - {{ hits }}) / {{ n }} + {{ z * z / 4 }}))
      / ({{ n }} + {{ z * z }})
  )) end
{%- endmacro %}

{#- Student's 97.5 % quantile: from tables up to 30 degrees of freedom, then by its expansion, which is off by less than
    0.0001 from there on. -#}
{% macro student(z, degrees) -%}
  case
    when {{ degrees }} <= 30 then [{{ var('student_quantiles') | join(', ') }}][{{ degrees }}]
    else {{ z }} + {{ (z ** 3 + z) / 4 }} / ({{ degrees }}) + {{ (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96 }} / pow({{ degrees }}, 2)
  end
{%- endmacro %}
