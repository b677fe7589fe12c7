-- What every node keeps, with or without a warehouse: aggregates of the readings, and how far they follow the log.
-- Columns of the sensors (`flow_count`, `flow_sum`, `flow_min`, `flow_max`, …) are added when a definition is adopted.
-- Times are RFC 3339 in UTC with milliseconds, so that their order is that of the text.

CREATE TABLE projection_checkpoints (
    projection TEXT NOT NULL,
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,          -- last record of the shard whose rows are here
    hash TEXT NOT NULL,                 -- its chain hash: the log that the rows come from
    updated_at TEXT NOT NULL,           -- append time of that record
    PRIMARY KEY (projection, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE projection_definitions (
    definition TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    adopted INTEGER NOT NULL            -- order of adoption
) STRICT, WITHOUT ROWID;

CREATE TABLE readings_1m (
    locomotive_id TEXT NOT NULL,
    bucket TEXT NOT NULL,               -- begin of the minute of recorded_at
    readings INTEGER NOT NULL,
    risk_count INTEGER NOT NULL,
    risk_sum REAL,
    risk_min REAL,
    risk_max REAL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,          -- newest record in the bucket
    PRIMARY KEY (locomotive_id, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE readings_1h (
    locomotive_id TEXT NOT NULL,
    bucket TEXT NOT NULL,               -- begin of the hour of recorded_at
    readings INTEGER NOT NULL,
    risk_count INTEGER NOT NULL,
    risk_sum REAL,
    risk_min REAL,
    risk_max REAL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,          -- newest record in the bucket
    PRIMARY KEY (locomotive_id, bucket)
) STRICT, WITHOUT ROWID;
