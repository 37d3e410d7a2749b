-- SCD2 versions of users with their surrogate key. The facts find their version here too: dim_users has the same rows.
{{ versions(ref('stg_users'), 'user_id', ['email', 'country', 'plan', 'registered_at']) }}
