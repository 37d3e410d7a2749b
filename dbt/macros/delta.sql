{#- A lake table: the plugin computes the days it is to have and shows them under the model's name. Nothing is written to
    the lake here: days are published when the tests of the model are done, so that bad ones never reach a reader. -#}
{% materialization delta, adapter="duckdb", supported_languages=['sql'] %}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {# The plugin has a connection of its own, which sees what is committed. #}
  {% call statement('main') -%} select 'computed by the plugin' {%- endcall %}
  {{ adapter.commit() }}
  {% do tell_the_lake({'step': 'compute', 'model': model, 'sql': compiled_code, 'nodes': graph.nodes}) %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {% call statement('after') -%} select 'post-hooks are done' {%- endcall %}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [this.incorporate(type='view')]}) }}
{% endmaterialization %}

{#- A test. In a run of Dagster the plugin judges each day by itself: what fails for one must not stop the others, so dbt
    is told that nothing did. From a shell it is dbt's own. -#}
{% materialization test, adapter="duckdb" %}
  {% if not run_query("select getvariable('judged_by_day')").rows[0][0] %}
    {{ return(dbt.materialization_test_default()) }}
  {% endif %}
  {% do tell_the_lake({'step': 'test', 'model': model, 'sql': sql}) %}
  {% call statement('main', fetch_result=True) -%}
    select 0 as failures, false as should_warn, false as should_error
  {%- endcall %}
  {{ return({'relations': []}) }}
{% endmaterialization %}

{% macro tell_the_lake(told) %}
  {% set nowhere = api.Relation.create(schema='main', identifier='lake') %}
  {% do adapter.store_relation('lake', nowhere, [], '', 'delta', told) %}
{% endmacro %}

{#- Hands rows and test results of a run to the lake. -#}
{% macro hand_over(results) %}
  {% if execute and flags.WHICH != 'compile' %}
    {% do tell_the_lake({'step': 'finish', 'results': results}) %}
  {% endif %}
{% endmacro %}

{#- Schemas are named as they are said; the group of the contract, not prefixed by the target. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name or target.schema }}
{%- endmacro %}

{#- The views that what is selected reads, before anything runs: a model can be selected without `+`, for the tables that it
    reads are the lake's, and these stand between. dbt compiles no node that is not selected, so they are rendered here;
    but those over seeds and other tables of the run, which are not there yet and have to be selected. -#}
{% macro create_views() %}
  {% if execute and flags.WHICH != 'compile' %}
    {% do tell_the_lake({'step': 'start', 'nodes': graph.nodes, 'selected': selected_resources}) %}
    {% for row in run_query('select unique_id from main.views_to_create order by position').rows %}
      {% set view = graph.nodes[row[0]] %}
      {% set relation = api.Relation.create(view.database, view.schema, view.alias, type='view') %}
      {# A hook may name no model in ref(). #}
      {% set code = namespace(sql=view.raw_code) %}
      {% for id in view.depends_on.nodes if id in graph.nodes %}
        {% set name = graph.nodes[id].name %}
        {% set code.sql = code.sql | replace("ref('" ~ name ~ "')", "'" ~ graph.nodes[id].relation_name ~ "'") %}
      {% endfor %}
      {# Not run_query, which makes a table of agate's of no rows. #}
      {% do adapter.execute('create or replace view ' ~ relation ~ ' as ' ~ render(code.sql), fetch=False) %}
      {% do adapter.cache_added(relation) %}
    {% endfor %}
  {% endif %}
{% endmacro %}
