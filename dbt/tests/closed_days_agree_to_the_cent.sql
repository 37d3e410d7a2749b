-- Tolerance zero: what was ordered was charged, what was refunded was paid out, on every day that is closed.
{{ config(meta={'judges': 'revenue_reconciliation'}, severity='error') }}
select reconciliation_date, currency, ordered_amount, charged_amount
from {{ ref('revenue_reconciliation') }}
where is_closed and (ordered_amount <> charged_amount or refunded_amount <> paid_out_refunds)
  and {{ in_window('reconciliation_date') }}
