-- Whom projects want to hear: one row per version of a project, attribute and value, shares of an attribute adding up to 1.
with attributes as (
  select versions.*, field.key as attribute, field.value as shares
  from {{ ref('stg_project_versions') }} as versions, json_each(versions.target_demographics) as field
  where field.type = 'OBJECT'
), wanted as (
  select
    attributes.surrogate_key, attributes.tenant_id, attributes.project_id, attributes.attribute, share.key as value,
    attributes.valid_from, attributes.valid_to, max({{ json_number('share.type', "share.atom->>'$'") }}) as wanted
  from attributes, json_each(attributes.shares) as share
  where share.type in ('BIGINT', 'UBIGINT', 'DOUBLE')
  group by all
), totals as (
  select surrogate_key, attribute, sum(wanted order by value) as total from wanted where wanted >= 0 group by all
)
select tenant_id, project_id, attribute, value, wanted / total as share, valid_from, valid_to
from wanted join totals using (surrogate_key, attribute)
where wanted >= 0 and total > 0
