{#- Generic tests whose failing rows keep all their columns, so that a failure is told for its day and with its key. -#}
{% test unique_key(model, columns) %}
  select * from {{ model }}
  qualify count(*) over (partition by {{ columns | join(', ') }}) > 1
{% endtest %}

{% test not_null(model, columns) %}
  select * from {{ model }} where {% for name in columns %}{{ name }} is null{{ ' or ' if not loop.last }}{% endfor %}
{% endtest %}

{% test at_least(model, column_name, bound) %}
  select * from {{ model }} where {{ column_name }} < {{ bound }}
{% endtest %}

{% test at_most(model, column_name, bound) %}
  select * from {{ model }} where {{ column_name }} > {{ bound }}
{% endtest %}

{% test accepted_values(model, column_name, values) %}
  select * from {{ model }} where {{ column_name }} not in ({{ quoted_list(values) }})
{% endtest %}

{% test relationships(model, column_name, to, field) %}
  select * from {{ model }}
  where {{ column_name }} is not null
    and {{ column_name }} not in (select {{ field }} from {{ to }} where {{ field }} is not null)
{% endtest %}
