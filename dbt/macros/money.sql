{#- Every cast that could lose something is here: text is matched against a grammar first (DuckDB reads 0x10, 1_000 and
    1e3 as numbers and rounds what is too fine), what is beyond an amount's 18 digits is null, never an error. -#}

{#- Text of a whole number, as APIs give amounts in minor units. -#}
{% macro is_whole_number(text) -%}
  regexp_full_match({{ text }}, '-?[0-9]+')
{%- endmacro %}

{#- Text of a decimal that is no finer than its currency, as change capture delivers it; zeros at the end add nothing. -#}
{% macro is_exact_decimal(text, currency) -%}
  (regexp_full_match({{ text }}, '-?[0-9]+(\.[0-9]{1,2}0*)?')
    and ({{ currency }} is null or {{ currency }} not in ({{ quoted_list(var('zero_decimal_currencies')) }})
      or regexp_full_match({{ text }}, '-?[0-9]+(\.0+)?')))
{%- endmacro %}

{#- Text of whole minor units to an amount. -#}
{% macro from_minor_units(text, currency) -%}
  case
    when not {{ is_whole_number(text) }} then null
    when {{ currency }} in ({{ quoted_list(var('zero_decimal_currencies')) }}) then {{ money(text) }}
    when {{ currency }} in ({{ quoted_list(var('two_decimal_currencies')) }}) then {{ from_cents(text) }}
  end
{%- endmacro %}

{#- Text of a decimal to an amount. -#}
{% macro exact_amount(text, currency) -%}
  case when {{ is_exact_decimal(text, currency) }} then {{ money(text) }} end
{%- endmacro %}

{#- Why a text gave no amount, as branches of a case. -#}
{% macro unless_minor_units(text, amount) -%}
    when {{ text }} is null or not {{ is_whole_number(text) }} then 'amount_is_no_whole_number'
    when {{ amount }} is null then 'amount_out_of_range'
{%- endmacro %}

{% macro unless_exact(what, text, amount, currency) -%}
    when not {{ is_exact_decimal(text, currency) }} then '{{ what }}_is_no_exact_decimal'
    when {{ amount }} is null then '{{ what }}_out_of_range'
{%- endmacro %}

{#- A sum, product or matched text as an amount; null beyond 9999999999999999.99, which the contracts' rule
    `totals_in_range` tells of sums. -#}
{% macro money(value) -%}
  try_cast({{ value }} as decimal(18, 2))
{%- endmacro %}

{% macro from_cents(cents) -%}
  {{ money('try_cast(' ~ cents ~ ' as decimal(30, 0)) * 0.01::decimal(3, 2)') }}
{%- endmacro %}

{#- Rounded half up in whole cents: dividing decimals would make a float of money. -#}
{% macro mean_money(total, count) -%}
  {{ from_cents('((' ~ total ~ ' * 100)::hugeint * 2 + ' ~ count ~ ') // (2 * ' ~ count ~ ')') }}
{%- endmacro %}

{#- A sum of counts, which DuckDB makes a 128-bit integer. -#}
{% macro total(counts) -%}
  sum({{ counts }})::bigint
{%- endmacro %}

{% macro known_currencies() -%}
  ({{ quoted_list(var('zero_decimal_currencies') + var('two_decimal_currencies')) }})
{%- endmacro %}

{% macro quoted_list(values) -%}
  {%- for value in values -%}'{{ value }}'{{ ', ' if not loop.last }}{%- endfor -%}
{%- endmacro %}

{#- What JSON itself calls a number; null for anything else, in whatever order DuckDB looks at rows. -#}
{% macro json_number(type, text) -%}
  case when {{ type }} in ('BIGINT', 'UBIGINT', 'DOUBLE') then try_cast({{ text }} as double) end
{%- endmacro %}

{#- The ten that a number below 1e15 begins in. -#}
{% macro ten_of(number) -%}
  floor({{ number }} / 10)::bigint * 10
{%- endmacro %}

{#- An amount divided, cut to millionths. -#}
{% macro millionths_of(amount, parts) -%}
  ((trunc({{ amount }} * 1000000)::hugeint // {{ parts }})::decimal(30, 0) * 0.000001::decimal(7, 6))::decimal(38, 6)
{%- endmacro %}
