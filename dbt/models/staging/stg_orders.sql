-- Each order as its newest change left it; deleted ones are gone. `rejection` says why an order is no good, if it is not.
with newest as (
  {{ newest_change(ref('stg_order_changes'), ['order_id'], order_ties()) }}
)
select * exclude (operation) from newest
where operation <> 'delete'
