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

{#- Every view of the project, before anything runs: a model can be selected without `+`, for the tables that it reads are
    the lake's, and these stand between. dbt compiles no node that is not selected, so they are rendered here. -#}
{% macro create_views() %}
  {% if execute and flags.WHICH != 'compile' %}
    {% set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') %}
    {% set views = models | selectattr('config.materialized', 'equalto', 'view') | list %}
    {% set left = namespace(views=views) %}
    {% for _ in views %}
      {% set names = left.views | map(attribute='unique_id') | list %}
      {% set ready = [] %}{% set waiting = [] %}
      {% for view in left.views %}
        {% do (waiting if view.depends_on.nodes | select('in', names) | list else ready).append(view) %}
      {% endfor %}
      {% for view in ready %}
        {% set relation = api.Relation.create(view.database, view.schema, view.alias, type='view') %}
        {% do adapter.create_schema(relation) %}
        {# A hook may name no model in ref(). #}
        {% set code = namespace(sql=view.raw_code) %}
        {% for id in view.depends_on.nodes if id in graph.nodes %}
          {% set name = graph.nodes[id].name %}
          {% set code.sql = code.sql | replace("ref('" ~ name ~ "')", "'" ~ graph.nodes[id].relation_name ~ "'") %}
        {% endfor %}
        {% do run_query('create or replace view ' ~ relation ~ ' as ' ~ render(code.sql)) %}
        {% do adapter.cache_added(relation) %}
      {% endfor %}
      {% set left.views = waiting %}
    {% endfor %}
  {% endif %}
{% endmacro %}
