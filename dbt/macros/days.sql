{#- The days of the run. A DuckDB variable, not a dbt var: the compiled SQL is the same every day. -#}
{% macro in_window(column) -%}
  {{ column }} between getvariable('first_day') and getvariable('last_day')
{%- endmacro %}
