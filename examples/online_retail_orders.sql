-- Example mapping: order lines of a UK retailer (one CSV per day) as changes of the table `orders`.
-- An invoice is an order; one whose number begins with C is a credit note. Clocks are London's.
SELECT
  InvoiceNo::VARCHAR AS order_id,
  any_value(CustomerID::BIGINT::VARCHAR) AS user_id,
  CASE WHEN InvoiceNo::VARCHAR LIKE 'C%' THEN 'return' ELSE 'sale' END AS order_type,
  'paid' AS status,
  'GBP' AS currency,
  abs(sum(Quantity * UnitPrice::DECIMAL(18, 4)))::DECIMAL(18, 2)::VARCHAR AS total_amount,
  min(InvoiceDate::TIMESTAMP AT TIME ZONE 'Europe/London') AS ordered_at,
  'insert' AS operation,
  min(InvoiceDate::TIMESTAMP AT TIME ZONE 'Europe/London') AS changed_at
FROM (SELECT DISTINCT * FROM input)
GROUP BY InvoiceNo
