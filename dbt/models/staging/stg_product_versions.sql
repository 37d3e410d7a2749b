-- SCD2 versions of products with their surrogate key. A change with a price that is none ends a version and starts none.
{{ versions(ref('stg_products'), 'product_id', ['name', 'category', 'list_price', 'currency'],
  ended="(operation = 'delete' or rejection is not null)") }}
