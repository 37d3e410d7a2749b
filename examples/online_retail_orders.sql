-- Example mapping: order lines of a UK retailer (one CSV per day) as changes of the table `orders`.
-- An invoice is an order; one whose number begins with C is a credit note. Clocks are London's.
SELECT
  InvoiceNo AS order_id,
  any_value(regexp_replace(CustomerID, '[.]0$', '')) AS user_id,
  CASE WHEN InvoiceNo LIKE 'C%' THEN 'return' ELSE 'sale' END AS order_type,
  'paid' AS status,
  'GBP' AS currency,
  -- Values of a CSV are text: cast what is computed with.
  abs(sum(Quantity::BIGINT * UnitPrice::DECIMAL(18, 4)))::DECIMAL(18, 2) AS total_amount,
  min(InvoiceDate::TIMESTAMP AT TIME ZONE 'Europe/London') AS ordered_at,
  'insert' AS operation,
  min(InvoiceDate::TIMESTAMP AT TIME ZONE 'Europe/London') AS changed_at
FROM (SELECT DISTINCT * FROM input)
GROUP BY InvoiceNo
