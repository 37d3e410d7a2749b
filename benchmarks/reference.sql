-- The pipeline by hand, for one DuckDB process: landing files → clean events and churn features as Parquet.
-- Meaning of every column: DESIGN §10. Expects the variables `landing` and `output` (folders; `output` exists).
-- It does what the tables of the platform do and nothing else: no rejected lines, no ledger, no checks, no history.

SET TimeZone = 'UTC';
SET preserve_insertion_order = false;

-- Events -------------------------------------------------------------------------------------------------------------
CREATE TABLE events AS
SELECT *, "timestamp"::DATE AS event_date
FROM read_json(
    getvariable('landing') || '/player_events/*.ndjson.gz',
    format = 'newline_delimited',
    columns = {
        event_id: 'VARCHAR', player_id: 'VARCHAR', campaign_id: 'VARCHAR', event_type: 'VARCHAR', event_data: 'JSON',
        session_id: 'VARCHAR', "timestamp": 'TIMESTAMP', client_timestamp: 'TIMESTAMP', device_info: 'JSON'
    }
);

-- Few ids come twice: finding them by two columns and deleting the surplus is a third of the work of sorting all rows.
CREATE TABLE repeated AS
SELECT event_date, event_id FROM events GROUP BY ALL HAVING count(*) > 1;

DELETE FROM events WHERE rowid IN (
    SELECT rowid FROM events SEMI JOIN repeated USING (event_date, event_id)
    QUALIFY row_number() OVER (PARTITION BY event_date, event_id ORDER BY "timestamp") > 1
);

COPY events TO (getvariable('output') || '/clean_player_events') (FORMAT parquet, PARTITION_BY event_date);

-- Daily partials -----------------------------------------------------------------------------------------------------
CREATE TABLE active_hours AS
SELECT
    event_date, player_id, hour("timestamp") AS hour,
    count(*) AS events,
    count(*) FILTER (event_type = 'combat_start') AS combat_start,
    count(*) FILTER (event_type = 'spell_cast') AS spell_cast,
    count(*) FILTER (event_type = 'dialogue_choice') AS dialogue_choice,
    count(*) FILTER (event_type = 'item_acquired') AS item_acquired,
    count(*) FILTER (event_type = 'level_up') AS level_up,
    count(*) FILTER (event_type IN ('party_join', 'message_sent', 'trade_completed')) AS social
FROM events
GROUP BY ALL;

CREATE TABLE active_days AS
SELECT
    event_date, player_id,
    sum(events)::INT AS events,
    if(isodow(event_date) >= 6, sum(events), 0)::INT AS weekend,
    sum(COLUMNS('combat_start|spell_cast|dialogue_choice|item_acquired|level_up|social'))::INT,
    sum(events) FILTER (hour = 0)::INT AS h00, sum(events) FILTER (hour = 1)::INT AS h01,
    sum(events) FILTER (hour = 2)::INT AS h02, sum(events) FILTER (hour = 3)::INT AS h03,
    sum(events) FILTER (hour = 4)::INT AS h04, sum(events) FILTER (hour = 5)::INT AS h05,
    sum(events) FILTER (hour = 6)::INT AS h06, sum(events) FILTER (hour = 7)::INT AS h07,
    sum(events) FILTER (hour = 8)::INT AS h08, sum(events) FILTER (hour = 9)::INT AS h09,
    sum(events) FILTER (hour = 10)::INT AS h10, sum(events) FILTER (hour = 11)::INT AS h11,
    sum(events) FILTER (hour = 12)::INT AS h12, sum(events) FILTER (hour = 13)::INT AS h13,
    sum(events) FILTER (hour = 14)::INT AS h14, sum(events) FILTER (hour = 15)::INT AS h15,
    sum(events) FILTER (hour = 16)::INT AS h16, sum(events) FILTER (hour = 17)::INT AS h17,
    sum(events) FILTER (hour = 18)::INT AS h18, sum(events) FILTER (hour = 19)::INT AS h19,
    sum(events) FILTER (hour = 20)::INT AS h20, sum(events) FILTER (hour = 21)::INT AS h21,
    sum(events) FILTER (hour = 22)::INT AS h22, sum(events) FILTER (hour = 23)::INT AS h23
FROM active_hours
GROUP BY event_date, player_id;

CREATE TABLE session_days AS
SELECT event_date, player_id, session_id, min("timestamp") AS started_at, max("timestamp") AS ended_at
FROM events
GROUP BY ALL;

CREATE TABLE days AS
SELECT unnest(generate_series(min(event_date), max(event_date), INTERVAL 1 DAY))::DATE AS snapshot_date FROM events;

-- Change files: each version holds from its day to the day before the entity's next change ----------------------------
-- What changed before the first day counts as known on the first day; at one instant a delete wins.
SET VARIABLE first_day = (SELECT min(snapshot_date) FROM days);
CREATE MACRO known_on(changed_at) AS greatest(changed_at::DATE, getvariable('first_day'));
CREATE MACRO strength(operation) AS list_position(['insert', 'update', 'delete'], operation);

CREATE TABLE players AS
SELECT player_id, operation, known_on(changed_at) AS known, lead(known) OVER entity AS replaced
FROM read_json(
    getvariable('landing') || '/players/*.ndjson.gz',
    format = 'newline_delimited',
    columns = {player_id: 'VARCHAR', operation: 'VARCHAR', changed_at: 'TIMESTAMP'}
)
WINDOW entity AS (PARTITION BY player_id ORDER BY changed_at, strength(operation));

CREATE TABLE campaigns AS
SELECT campaign_id, difficulty, coalesce(theme, 'unknown') AS theme,
    known_on(changed_at) AS known, lead(known) OVER entity AS replaced
FROM read_json(
    getvariable('landing') || '/campaigns/*.ndjson.gz',
    format = 'newline_delimited',
    columns = {campaign_id: 'VARCHAR', theme: 'VARCHAR', difficulty: 'DOUBLE', operation: 'VARCHAR',
               changed_at: 'TIMESTAMP'}
)
WHERE operation != 'delete'
WINDOW entity AS (PARTITION BY campaign_id ORDER BY changed_at, strength(operation));

CREATE TABLE participants AS
SELECT *, known_on(changed_at) AS known, lead(known) OVER entity AS replaced
FROM read_json(
    getvariable('landing') || '/campaign_participants/*.ndjson.gz',
    format = 'newline_delimited',
    columns = {campaign_id: 'VARCHAR', player_id: 'VARCHAR', role: 'VARCHAR', character_level: 'INT',
               experience: 'BIGINT', last_active: 'TIMESTAMP', operation: 'VARCHAR', changed_at: 'TIMESTAMP'}
)
WINDOW entity AS (PARTITION BY campaign_id, player_id ORDER BY changed_at, strength(operation));

-- Features -----------------------------------------------------------------------------------------------------------
CREATE TABLE event_features AS
SELECT
    snapshot_date, player_id,
    count(*) AS unique_days_active,
    sum(COLUMNS(* EXCLUDE (snapshot_date, event_date, player_id))::BIGINT)::BIGINT
FROM days JOIN active_days ON event_date BETWEEN snapshot_date - 29 AND snapshot_date
GROUP BY snapshot_date, player_id;

CREATE TABLE session_features AS
SELECT
    snapshot_date, player_id,
    count(*) AS unique_sessions,
    avg(minutes) AS avg_session_duration_minutes,
    max(minutes) AS max_session_duration_minutes,
    stddev_samp(minutes) AS session_duration_std
FROM (
    SELECT snapshot_date, player_id, date_diff('microsecond', min(started_at), max(ended_at)) / 6e7 AS minutes
    FROM days JOIN session_days ON event_date BETWEEN snapshot_date - 29 AND snapshot_date
    GROUP BY snapshot_date, player_id, session_id
)
GROUP BY ALL;

CREATE TABLE played AS
SELECT snapshot_date, p.*, c.difficulty, coalesce(c.theme, 'unknown') AS theme
FROM days
JOIN participants p
    ON snapshot_date >= p.known AND (p.replaced IS NULL OR snapshot_date < p.replaced)
    AND p.operation != 'delete' AND p.last_active::DATE BETWEEN snapshot_date - 29 AND snapshot_date
LEFT JOIN campaigns c
    ON c.campaign_id = p.campaign_id
    AND snapshot_date >= c.known AND (c.replaced IS NULL OR snapshot_date < c.replaced);

-- DuckDB's mode() takes any value on a tie, so the counts are ranked by hand.
CREATE MACRO most_frequent(what) AS TABLE
SELECT snapshot_date, player_id, arg_min(value, (-n, value)) AS value
FROM (SELECT snapshot_date, player_id, coalesce(what, 'unknown') AS value, count(*) AS n FROM played GROUP BY ALL)
GROUP BY ALL;

CREATE TABLE campaign_features AS
SELECT
    snapshot_date, player_id,
    count(*) AS active_campaigns,
    coalesce(avg(difficulty), 0) AS avg_difficulty,
    coalesce(max(character_level), 0)::BIGINT AS max_character_level,
    coalesce(sum(experience), 0)::BIGINT AS total_experience,
    count(DISTINCT role) AS unique_roles
FROM played
GROUP BY ALL;

CREATE TABLE known_players AS
SELECT snapshot_date, player_id
FROM days JOIN players ON snapshot_date >= known AND (replaced IS NULL OR snapshot_date < replaced)
WHERE operation != 'delete';

COPY (
    SELECT
        snapshot_date, player_id,
        coalesce(events, 0) AS total_events,
        coalesce(unique_days_active, 0) AS unique_days_active,
        coalesce(unique_sessions, 0) AS unique_sessions,
        events / unique_sessions AS avg_events_per_session,
        coalesce(combat_start, 0) AS combat_start_count, coalesce(combat_start / events, 0) AS combat_start_ratio,
        coalesce(spell_cast, 0) AS spell_cast_count, coalesce(spell_cast / events, 0) AS spell_cast_ratio,
        coalesce(dialogue_choice, 0) AS dialogue_choice_count,
        coalesce(dialogue_choice / events, 0) AS dialogue_choice_ratio,
        coalesce(item_acquired, 0) AS item_acquired_count, coalesce(item_acquired / events, 0) AS item_acquired_ratio,
        list_position(hours, list_max(hours)) - 1 AS most_active_hour,
        coalesce(weekend / events, 0) AS weekend_ratio,
        avg_session_duration_minutes, max_session_duration_minutes, session_duration_std,
        coalesce(level_up, 0) AS level_ups,
        coalesce(social, 0) AS social_interactions,
        coalesce(social / events, 0) AS social_ratio,
        coalesce(active_campaigns, 0) AS active_campaigns,
        coalesce(avg_difficulty, 0) AS avg_difficulty,
        coalesce(max_character_level, 0) AS max_character_level,
        coalesce(total_experience, 0) AS total_experience,
        coalesce(themes.value, 'unknown') AS preferred_themes,
        coalesce(unique_roles, 0) AS unique_roles,
        coalesce(roles.value, 'unknown') AS most_played_role,
        -- Nobody lands a shop's files here: zeros, and nulls where a mean has no meaning.
        0 AS orders, 0 AS spend, NULL AS days_since_last_order, NULL AS refund_share,
        0 AS emails_delivered, NULL AS email_open_rate, NULL AS email_click_rate
    FROM known_players
    FULL JOIN (
        SELECT *, [h00, h01, h02, h03, h04, h05, h06, h07, h08, h09, h10, h11,
                   h12, h13, h14, h15, h16, h17, h18, h19, h20, h21, h22, h23] AS hours
        FROM event_features
    ) USING (snapshot_date, player_id)
    LEFT JOIN session_features USING (snapshot_date, player_id)
    LEFT JOIN campaign_features USING (snapshot_date, player_id)
    LEFT JOIN most_frequent(theme) AS themes USING (snapshot_date, player_id)
    LEFT JOIN most_frequent(role) AS roles USING (snapshot_date, player_id)
) TO (getvariable('output') || '/player_churn_features') (FORMAT parquet, PARTITION_BY snapshot_date);
