//! What the operator sets: a file, the environment, and defaults, checked before anything starts. What the values do is not known here.

mod keys;
mod load;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use twin::instant::{DAY, Millis};

use crate::warehouse::Place;

pub use keys::{KEYS, Key, Kind};
pub use load::{ConfigError, Origin, Settings};

/// Everything in force, checked.
#[derive(Clone)]
pub struct Config {
    /// Where each value comes from, for `config show`.
    pub settings: Settings,
    /// `http.listen`.
    pub http: SocketAddr,
    /// `http.cors`: origins whose pages may ask.
    pub origins: Vec<String>,
    /// `monitor.listen`.
    pub monitor: SocketAddr,
    /// `definition.path`.
    pub definition: PathBuf,
    /// `model.path`.
    pub model: PathBuf,
    /// `log.kind`.
    pub log: LogKind,
    /// `log.directory`.
    pub log_directory: PathBuf,
    /// `log.shards`.
    pub shards: u16,
    /// `log.retention_days`: how long telemetry is kept; `None` for ever.
    pub retention: Option<Millis>,
    /// `audit.key_file`: the key that signs checkpoints; one beside the log where it is empty.
    pub audit_key: Option<PathBuf>,
    /// `audit.checkpoints`: where copies of the checkpoints go.
    pub audit_copies: Option<PathBuf>,
    /// `audit.every`: time between two checkpoints.
    pub audit_every: Millis,
    /// `simulator.locomotives`; 0 turns it off.
    pub simulated: usize,
    /// `simulator.seed`.
    pub seed: u64,
    /// `node.url`; derived from `http.listen` where it is empty.
    pub node: String,
    /// `twin.max_locomotives`.
    pub max_locomotives: usize,
    /// `twin.late_window`.
    pub late_window: Millis,
    /// `twin.commission`: whether the first reading commissions.
    pub commission_at_first_sight: bool,
    /// `breaker.drift`: whether drift opens the breaker.
    pub breaker_drift: bool,
    /// `warehouse.url`.
    pub warehouse: Place,
    /// `CIDP_API_KEY`.
    pub api_key: Option<String>,
}

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// On this machine's disk.
    Embedded,
    /// Nowhere: everything is gone when the process ends.
    Memory,
}

impl Config {
    /// Loads `file` (or `./cidp.toml`, if it is there), then the environment, over the defaults.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("CIDP_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self::of(Settings::load(file, environment)?)
    }

    /// Checks settings.
    pub fn of(settings: Settings) -> Result<Self, ConfigError> {
        let s = &settings;
        let http = s.address("http.listen")?;
        let monitor = s.address("monitor.listen")?;
        if http == monitor && http.port() != 0 {
            return Err(s.wrong("monitor.listen", "another address than http.listen"));
        }
        let origins: Vec<_> = s
            .text("http.cors")
            .split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
            .map(str::to_owned)
            .collect();
        if !origins.iter().all(|origin| is_origin(origin)) {
            return Err(
                s.wrong("http.cors", "origins such as https://depot.example, separated by commas; none for no page")
            );
        }
        let log = match s.text("log.kind") {
            "embedded" => LogKind::Embedded,
            "memory" => LogKind::Memory,
            "postgres" | "kurrentdb" => {
                return Err(s.wrong("log.kind", "embedded: this version has no other durable log yet"));
            }
            _ => return Err(s.wrong("log.kind", "embedded")),
        };
        let one_of = |key: &str, values: &[&str]| {
            if values.contains(&s.text(key)) {
                Ok(())
            } else {
                Err(s.wrong(key, &format!("one of {}", values.join(", "))))
            }
        };
        one_of("breaker.drift", &["on", "off"])?;
        one_of("kafka.partitioner", &["murmur2", "any"])?;
        one_of("twin.commission", &["first_sight", "registered"])?;
        let late_window = s.duration("twin.late_window")?;
        let retention = (s.number("log.retention_days", 0, 36_500)? as Millis) * DAY;
        // Whether a late reading is known already is asked of telemetry that must still be there.
        if retention > 0 && retention <= late_window {
            let least = late_window / DAY + 1;
            return Err(s.wrong(
                "log.retention_days",
                &format!("0 (for ever), or {least} or more: longer than twin.late_window"),
            ));
        }
        s.number("warehouse.retention_days", 0, 36_500)?;
        let warehouse = Place::parse(s.text("warehouse.url")).map_err(|expected| s.wrong("warehouse.url", expected))?;
        let node = match s.text("node.url") {
            "" => format!("http://{http}"),
            url => url.to_owned(),
        };
        Ok(Self {
            http,
            origins,
            monitor,
            definition: PathBuf::from(s.text("definition.path")),
            model: PathBuf::from(s.text("model.path")),
            log,
            log_directory: PathBuf::from(s.text("log.directory")),
            shards: s.number("log.shards", 1, 1_024)? as u16,
            audit_key: path_maybe(s.text("audit.key_file")),
            audit_copies: path_maybe(s.text("audit.checkpoints")),
            audit_every: s.duration("audit.every")?,
            simulated: s.number("simulator.locomotives", 0, 10_000)? as usize,
            seed: s.number("simulator.seed", 0, u64::MAX)?,
            node,
            max_locomotives: s.number("twin.max_locomotives", 1, 10_000_000)? as usize,
            late_window,
            retention: (retention > 0).then_some(retention),
            commission_at_first_sight: s.text("twin.commission") == "first_sight",
            breaker_drift: s.text("breaker.drift") == "on",
            warehouse,
            api_key: settings.api_key.clone(),
            settings,
        })
    }
}

/// Whether a text is an origin as browsers send it (RFC 6454): scheme, host and perhaps a port, without a path. `*` would let every page ask.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |c: char| (c.is_ascii_alphanumeric() && !c.is_ascii_uppercase()) || ".-:[]".contains(c);
    host.is_some_and(|host| !host.is_empty() && host.chars().all(allowed))
}

fn path_maybe(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn with(environment: &[(&str, &str)], file: Option<&str>) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("cidp.toml");
        if let Some(text) = file {
            std::fs::File::create(&path).and_then(|mut f| f.write_all(text.as_bytes())).expect("written");
        }
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::of(Settings::load(file.map(|_| path.as_path()), environment)?)
    }

    fn message(result: Result<Config, ConfigError>) -> String {
        result.map(|_| ()).expect_err("it must be refused").to_string()
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = with(&[], None).expect("defaults");
        assert_eq!(config.http.to_string(), "127.0.0.1:5000");
        assert_eq!(config.late_window, 7 * twin::instant::DAY);
        assert_eq!((config.shards, config.simulated, config.max_locomotives), (8, 20, 200_000));
        assert_eq!(config.node, "http://127.0.0.1:5000");
    }

    #[test]
    fn origins_are_named_one_by_one() {
        let cors = |text: &str| with(&[("CIDP_HTTP__CORS", text)], None);
        let named = cors("https://depot.example, http://127.0.0.1:3000").expect("valid").origins;
        assert_eq!(named, ["https://depot.example", "http://127.0.0.1:3000"]);
        assert!(with(&[], None).expect("defaults").origins.is_empty());
        for wrong in ["*", "depot.example", "https://depot.example/", "https://Depot.example", "null"] {
            assert!(message(cors(wrong)).contains("http.cors"), "{wrong}");
        }
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let file = "[log]\nshards = 4\ndirectory = \"/tmp/a\"\n[twin]\nlate_window = \"36h\"\n";
        let config = with(&[("CIDP_LOG__SHARDS", "16")], Some(file)).expect("valid");
        assert_eq!(config.shards, 16);
        assert_eq!(config.log_directory, Path::new("/tmp/a"));
        assert_eq!(config.late_window, 36 * twin::instant::HOUR);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        assert!(message(with(&[], Some("[http]\nlistn = \"x\"\n"))).contains("http.listen"));
        let error = message(with(&[("CIDP_LOG__SHARD", "2")], None));
        assert!(error.contains("CIDP_LOG__SHARD") && error.contains("log.shards"), "{error}");
        assert!(message(with(&[("CIDP_API_KEI", "x")], None)).contains("CIDP_API_KEY"));
    }

    #[test]
    fn a_wrong_value_names_key_expected_got_and_origin() {
        let error = message(with(&[("CIDP_LOG__SHARDS", "many")], None));
        for part in ["log.shards", "1 to 1024", "many", "CIDP_LOG__SHARDS"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(message(with(&[], Some("[log]\nkind = \"postgres\"\n"))).contains("embedded"));
        assert!(message(with(&[], Some("[log\n"))).contains("cidp.toml"));
        assert!(message(with(&[], Some("[twin]\nlate_window = \"7x\"\n"))).contains("7d"));
        assert!(message(with(&[], Some("[log]\nshards = \"a\"\n"))).contains("cidp.toml"));
    }

    #[test]
    fn telemetry_is_kept_longer_than_readings_may_be_late() {
        assert_eq!(with(&[], None).expect("defaults").retention, None);
        let days = |days: &str| with(&[("CIDP_LOG__RETENTION_DAYS", days)], None);
        assert_eq!(days("8").expect("valid").retention, Some(8 * twin::instant::DAY));
        let error = message(days("7"));
        assert!(error.contains("log.retention_days") && error.contains("8 or more"), "{error}");
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "postgres://u:p@host/db\n").expect("written");
        let path = secret.to_string_lossy().into_owned();
        let config = with(&[("CIDP_LOG__URL_FILE", &path), ("CIDP_API_KEY_FILE", &path)], None).expect("valid");
        assert_eq!(config.settings.text("log.url"), "postgres://u:p@host/db");
        assert_eq!(config.api_key.as_deref(), Some("postgres://u:p@host/db"));
        assert!(!config.settings.to_toml().contains("u:p@host"));
        assert!(!config.settings.to_json().to_string().contains("u:p@host"));
        assert!(message(with(&[("CIDP_LOG__URL_FILE", "/nowhere")], None)).contains("/nowhere"));
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let shown = with(&[], None).expect("defaults").settings.to_toml();
        let again = with(&[], Some(&shown)).expect("what is shown is valid");
        assert_eq!(again.shards, 8);
    }
}
