-- What personas are: one row per version and attribute of personas made for a project. Numbers are taken in tens.
with fields as (
  select
    versions.*, field.key as attribute, field.atom->>'$' as value,
    {{ json_number('field.type', "field.atom->>'$'") }} as number
  from {{ ref('stg_persona_versions') }} as versions, json_each(versions.demographics) as field
  where field.type in ('VARCHAR', 'BIGINT', 'UBIGINT', 'DOUBLE', 'BOOLEAN') and field.key <> 'segment'
  -- JSON may say a field twice.
  qualify row_number() over (partition by versions.surrogate_key, field.key order by field.id) = 1
)
select
  tenant_id,
  project_id,
  attribute,
  case
    when abs(number) < 1e15 then format('{}-{}', {{ ten_of('number') }}, {{ ten_of('number') }} + 9)
    else value
  end as value,
  valid_from,
  valid_to
from fields
where project_id is not null
union all
select tenant_id, project_id, 'segment' as attribute, segment as value, valid_from, valid_to
from {{ ref('stg_persona_versions') }}
where project_id is not null and segment is not null
