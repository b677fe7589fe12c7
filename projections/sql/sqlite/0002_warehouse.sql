-- The warehouse: what analysts ask. Columns of the sensors are added to `readings` and `twin_state` when a definition is adopted.

CREATE TABLE locomotives (
    locomotive_id TEXT NOT NULL PRIMARY KEY,
    commissioned_at TEXT,
    retired_at TEXT,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE twin_state (
    locomotive_id TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    level TEXT NOT NULL,
    risk REAL,
    spread REAL,
    since TEXT,
    reason TEXT,
    model TEXT,
    last_reading_at TEXT,
    last_received_at TEXT,
    signal_lost_at TEXT,
    last_maintenance_at TEXT,
    last_failure_at TEXT,
    alert_id TEXT,
    latitude REAL,
    longitude REAL,
    speed REAL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE readings (
    locomotive_id TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    latitude REAL,
    longitude REAL,
    speed REAL,
    risk REAL,                          -- none for a late reading
    late INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (locomotive_id, recorded_at)
) STRICT, WITHOUT ROWID;

CREATE INDEX readings_by_time ON readings (recorded_at);

CREATE TABLE risk_changes (
    locomotive_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at TEXT NOT NULL,
    "from" TEXT NOT NULL,
    "to" TEXT NOT NULL,
    risk REAL NOT NULL,
    spread REAL NOT NULL,
    reason TEXT,
    doubt TEXT,                         -- why nothing can be said, where `to` is unknown
    model TEXT NOT NULL,
    base_rate REAL NOT NULL,
    contributions TEXT NOT NULL,        -- JSON: [{"feature", "sensor", "value"}]
    appended_at TEXT NOT NULL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (locomotive_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX risk_changes_by_time ON risk_changes (at);

CREATE TABLE alerts (
    id TEXT NOT NULL PRIMARY KEY,
    locomotive_id TEXT NOT NULL,
    severity TEXT NOT NULL,             -- the highest level since it was raised
    reason TEXT,
    raised_at TEXT NOT NULL,
    acknowledged_at TEXT,
    acknowledged_by TEXT,               -- opaque id
    comment TEXT,                       -- opaque id of an erasable text
    cleared_at TEXT,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL           -- newest record that moved it
) STRICT, WITHOUT ROWID;

CREATE INDEX alerts_by_locomotive ON alerts (locomotive_id, raised_at);

CREATE TABLE maintenance (
    locomotive_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    performed_at TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- preventive, corrective or failure
    component TEXT NOT NULL,
    note TEXT,                          -- opaque id of an erasable text
    recorded_by TEXT,                   -- opaque id
    appended_at TEXT NOT NULL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (locomotive_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX maintenance_by_time ON maintenance (performed_at);

-- One row a locomotive in service, as it stands now.
CREATE VIEW v_fleet_health AS
SELECT
    twin.locomotive_id,
    twin.level,
    twin.risk,
    twin.spread,
    twin.since,
    twin.reason,
    twin.last_reading_at,
    twin.signal_lost_at IS NOT NULL AS signal_lost,
    twin.last_maintenance_at,
    twin.last_failure_at,
    twin.latitude,
    twin.longitude,
    twin.speed,
    alert.id AS alert_id,
    alert.severity AS alert_severity,
    alert.raised_at AS alert_raised_at,
    alert.acknowledged_at IS NOT NULL AS alert_acknowledged,
    twin.shard,
    twin.sequence
FROM twin_state AS twin
JOIN locomotives AS locomotive USING (locomotive_id)
LEFT JOIN alerts AS alert ON alert.id = twin.alert_id
WHERE locomotive.retired_at IS NULL;

-- One row a locomotive and day (UTC) on which something is known of it: seconds at each level, and the share of them that was fit for
-- service (nominal or watch). The last level holds until the newest reading.
CREATE VIEW v_daily_availability AS
WITH RECURSIVE
spans AS (
    SELECT
        change.locomotive_id,
        change."to" AS level,
        julianday(change.at) AS began,
        julianday(coalesce(
            lead(change.at) OVER (PARTITION BY change.locomotive_id ORDER BY change.version),
            max(twin.last_reading_at, change.at)
        )) AS ended
    FROM risk_changes AS change
    JOIN twin_state AS twin USING (locomotive_id)
),
pieces (locomotive_id, level, began, ended, last) AS (
    SELECT locomotive_id, level, began, min(ended, CAST(began - 0.5 AS INTEGER) + 1.5), ended FROM spans WHERE ended > began
    UNION ALL
    SELECT locomotive_id, level, ended, min(last, ended + 1), last FROM pieces WHERE ended < last
)
SELECT
    locomotive_id,
    date(began) AS day,
    round(86400 * sum(CASE level WHEN 'nominal' THEN ended - began ELSE 0 END), 3) AS seconds_nominal,
    round(86400 * sum(CASE level WHEN 'watch' THEN ended - began ELSE 0 END), 3) AS seconds_watch,
    round(86400 * sum(CASE level WHEN 'danger' THEN ended - began ELSE 0 END), 3) AS seconds_danger,
    round(86400 * sum(CASE level WHEN 'unknown' THEN ended - began ELSE 0 END), 3) AS seconds_unknown,
    round(sum(CASE WHEN level IN ('nominal', 'watch') THEN ended - began ELSE 0 END) / sum(ended - began), 6) AS availability
FROM pieces
GROUP BY locomotive_id, date(began);
