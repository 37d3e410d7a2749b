-- Example mapping of the Azure LLM inference trace: when each call was made, how many tokens it read and wrote. The trace
-- names neither tenant nor model, so both are said here. A call's id is its content and how often it came before.
SELECT
  md5(concat_ws('|', TIMESTAMP, ContextTokens, GeneratedTokens,
    row_number() OVER (PARTITION BY TIMESTAMP, ContextTokens, GeneratedTokens))) AS usage_id,
  'azure-trace' AS tenant_id,
  'conversation' AS feature,
  'azure' AS provider,
  'llama2-70b' AS model,
  TIMESTAMP::TIMESTAMP AT TIME ZONE 'UTC' AS started_at,
  ContextTokens::BIGINT AS input_tokens,
  GeneratedTokens::BIGINT AS output_tokens
FROM input
