-- Every project there ever was, and from when it was known: what a day says must not hang on days after it.
select tenant_id, project_id, min(valid_from) as known_from
from {{ ref('stg_project_versions') }}
group by tenant_id, project_id
