-- What happened in the database that the golden messages are of: a statement a line, those of one transaction in one.
-- The part above `-- streaming` is there when Debezium takes its snapshot.
CREATE TABLE players (id bigint PRIMARY KEY, username text, email text, country text, platform text DEFAULT 'pc', subscription_tier text, registered_at timestamp, profile jsonb, born date, avatar text)
ALTER TABLE players ALTER COLUMN avatar SET STORAGE EXTERNAL
CREATE TABLE orders (order_id text PRIMARY KEY, user_id text, order_type text, status text, currency text, total_amount numeric(12,2), ordered_at timestamptz, rate numeric, receipt text)
ALTER TABLE orders REPLICA IDENTITY FULL
ALTER TABLE orders ALTER COLUMN receipt SET STORAGE EXTERNAL
CREATE TABLE visits (player bigint, page text)
ALTER TABLE visits REPLICA IDENTITY FULL
INSERT INTO players VALUES (1, 'Zażółć', 'one@example.com', 'PL', 'pc', 'free', '2024-01-02 10:11:12.123456', '{"level": 1.50}', '1999-11-27', repeat('0123456789', 1000))
INSERT INTO orders VALUES ('o-1', '1', NULL, 'paid', 'EUR', 12.30, '2024-01-02 10:11:12.123456+01', 1.5, repeat('0123456789', 1000))
-- streaming
INSERT INTO players VALUES (2, 'two', NULL, 'DE', 'mobile', 'premium', '2024-01-03 00:00:00', '{}', NULL, NULL)
UPDATE players SET subscription_tier = 'premium' WHERE id = 1
UPDATE players SET id = 3 WHERE id = 2
INSERT INTO players (id, username, platform) VALUES (4, 'no platform', NULL)
BEGIN; INSERT INTO players (id, username, platform) VALUES (5, 'a', 'pc'); UPDATE players SET username = 'b' WHERE id = 5; UPDATE players SET username = 'c' WHERE id = 5; COMMIT
BEGIN; UPDATE players SET username = 'rolled back' WHERE id = 5; ROLLBACK
UPDATE players SET registered_at = 'infinity', born = '-infinity' WHERE id = 5
DELETE FROM players WHERE id = 3
ALTER TABLE players ADD COLUMN referrer text DEFAULT 'none'
INSERT INTO players (id, username, platform, referrer) VALUES (6, 'six', 'pc', 'five')
INSERT INTO orders VALUES ('o-2', NULL, 'return', 'pending', 'EUR', -0.05, '2024-01-03 23:59:59.999999+00', 12345678901234567890.123, NULL)
UPDATE orders SET status = 'refunded' WHERE order_id = 'o-1'
UPDATE orders SET total_amount = 1234567890.12 WHERE order_id = 'o-2'
DELETE FROM orders WHERE order_id = 'o-2'
INSERT INTO visits VALUES (1, 'shop')
DELETE FROM visits
SELECT pg_logical_emit_message(true, 'prefix', 'hello')
TRUNCATE visits
