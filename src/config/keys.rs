//! The keys that there are, with their defaults. All of them are known from the first version, even where a later one uses them.

/// What kind of value a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// Text that nobody else may see.
    Secret,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// Its default as it would be written.
    pub default: &'static str,
    /// What it holds.
    pub kind: Kind,
}

const fn text(name: &'static str, default: &'static str) -> Key {
    Key { name, default, kind: Kind::Text }
}

const fn number(name: &'static str, default: &'static str) -> Key {
    Key { name, default, kind: Kind::Number }
}

const fn secret(name: &'static str, default: &'static str) -> Key {
    Key { name, default, kind: Kind::Secret }
}

/// All keys.
pub const KEYS: &[Key] = &[
    text("http.listen", "127.0.0.1:5000"),
    text("http.cors", ""),
    text("monitor.listen", "127.0.0.1:8501"),
    text("definition.path", "data/locomotive.toml"),
    text("model.path", "models/latest.onnx"),
    text("log.kind", "embedded"),
    text("log.directory", "./var/log"),
    secret("log.url", ""),
    number("log.shards", "8"),
    number("log.retention_days", "0"),
    text("audit.key_file", ""),
    text("audit.checkpoints", ""),
    text("audit.every", "1h"),
    secret("warehouse.url", "sqlite://./var/warehouse.db"),
    number("warehouse.retention_days", "0"),
    text("breaker.drift", "on"),
    number("simulator.locomotives", "20"),
    number("simulator.seed", "1"),
    text("kafka.brokers", ""),
    text("kafka.group", "cidp"),
    text("kafka.topic", "cidp.readings"),
    text("kafka.partitioner", "murmur2"),
    text("node.url", ""),
    number("twin.max_locomotives", "200000"),
    text("twin.late_window", "7d"),
    text("twin.commission", "first_sight"),
];

/// The environment variable of a key.
pub(super) fn variable(name: &str) -> String {
    format!("CIDP_{}", name.to_ascii_uppercase().replace('.', "__"))
}

/// The known name nearest to one that is not known.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known.max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b))).unwrap_or_default()
}
