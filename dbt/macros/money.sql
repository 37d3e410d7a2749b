{#- Amounts of APIs are whole minor units; tables hold decimals with the currency beside them. -#}
{% macro from_minor_units(amount, currency) -%}
  case when {{ currency }} in ({{ quoted_list(var('zero_decimal_currencies')) }})
    then ({{ amount }})::decimal(18, 2)
    else (({{ amount }})::decimal(18, 0) * 0.01::decimal(3, 2))::decimal(18, 2) end
{%- endmacro %}

{#- Text of a decimal, as change capture delivers it, to an amount; null when it is none or finer than a cent. -#}
{% macro exact_amount(text) -%}
  case when try_cast({{ text }} as decimal(30, 12)) = try_cast({{ text }} as decimal(18, 2))
    then try_cast({{ text }} as decimal(18, 2)) end
{%- endmacro %}

{% macro known_currencies() -%}
  ({{ quoted_list(var('zero_decimal_currencies') + var('two_decimal_currencies')) }})
{%- endmacro %}

{% macro quoted_list(values) -%}
  {%- for value in values -%}'{{ value }}'{{ ', ' if not loop.last }}{%- endfor -%}
{%- endmacro %}
