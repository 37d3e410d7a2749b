-- Example mapping: the same lines as changes of the table `order_items`. A line's id is its content, so exact copies are
-- one line; a credit note's negative pieces count as pieces of a return. Lines that are no sale (stock corrections with
-- negative pieces) stay as they are, and are rejected with the reason.
SELECT
  md5(to_json(input)::VARCHAR) AS order_item_id,
  InvoiceNo AS order_id,
  StockCode AS product_id,
  CASE WHEN InvoiceNo LIKE 'C%' THEN -Quantity::BIGINT ELSE Quantity::BIGINT END AS quantity,
  UnitPrice AS unit_price,  -- text: its digits stay as they are written
  'GBP' AS currency,
  first_value(InvoiceDate::TIMESTAMP AT TIME ZONE 'Europe/London') OVER (
    PARTITION BY InvoiceNo ORDER BY InvoiceDate::TIMESTAMP
  ) AS ordered_at,
  'insert' AS operation,
  InvoiceDate::TIMESTAMP AT TIME ZONE 'Europe/London' AS changed_at
FROM input
