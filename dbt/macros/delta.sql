{#- A lake table: compute the run's days in memory and show them under the model's name. Nothing is written here: the
    days are published when all tests of the model are done (on-run-end), so that bad ones never reach a reader. -#}
{% materialization delta, adapter="duckdb", supported_languages=['sql'] %}
  {%- set window = api.Relation.create(schema=this.schema, identifier=this.identifier ~ '__window', type='table') -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {% call statement('main') -%}
    create or replace table {{ window.include(database=false) }} as ({{ compiled_code }})
  {%- endcall %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {% do adapter.store_relation('lake', window.include(database=false), [], '', 'delta', {'step': 'window', 'model': model}) %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [this.incorporate(type='view')]}) }}
{% endmaterialization %}

{#- Hands rows and test results of a run to the lake. -#}
{% macro hand_over(results) %}
  {% if execute and flags.WHICH != 'compile' %}
    {% set nowhere = api.Relation.create(schema='main', identifier='results') %}
    {% do adapter.store_relation('lake', nowhere, [], '', 'delta', {'step': 'finish', 'results': results}) %}
  {% endif %}
{% endmacro %}

{#- Schemas are named as they are said; the group of the contract, not prefixed by the target. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name or target.schema }}
{%- endmacro %}
