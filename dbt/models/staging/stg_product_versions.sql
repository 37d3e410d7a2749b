-- SCD2 versions of products with their surrogate key.
{{ versions(ref('stg_products'), 'product_id', ['name', 'category', 'list_price', 'currency']) }}
