//! Reading the settings: each value remembers where it came from, so that an error can say it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use twin::instant::{self, Millis};

use super::keys::{KEYS, Key, Kind, nearest, variable};

/// The file that is read when none is named.
const FILE: &str = "cidp.toml";
/// The admin key's variable.
const API_KEY: &str = "CIDP_API_KEY";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {message} (named by {named_by})", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Who names it.
        named_by: String,
        /// What the system says.
        message: String,
    },
    /// It is not TOML.
    #[error("{path} is not valid TOML: {message}", path = path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// Nobody knows this key.
    #[error("{origin} sets {name}, which is no known key; did you mean {nearest}?")]
    UnknownKey {
        /// The key.
        name: String,
        /// The nearest known one.
        nearest: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A value that cannot be.
    #[error("{name}: expected {expected}, got {got:?} (from {origin})")]
    Value {
        /// The key.
        name: String,
        /// What was expected.
        expected: String,
        /// What came; a secret is masked.
        got: String,
        /// Where it stands.
        origin: Origin,
    },
}

/// The values of all keys with their origin.
#[derive(Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
    /// `CIDP_API_KEY`, or the content of the file that `CIDP_API_KEY_FILE` names.
    pub api_key: Option<String>,
}

impl Settings {
    /// Reads `file`, or `./cidp.toml` if it is there, then the variables given, over the defaults.
    pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let defaults = KEYS.iter().map(|key| (key.name, (key.default.to_owned(), Origin::Default)));
        let mut settings = Self { values: defaults.collect(), api_key: None };
        match file {
            Some(path) => settings.read_file(path)?,
            None if Path::new(FILE).exists() => settings.read_file(Path::new(FILE))?,
            None => {}
        }
        for (name, value) in environment {
            settings.read_variable(&name, value)?;
        }
        Ok(settings)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = read(path, "--config")?;
        let not_toml = |message: String| ConfigError::NotToml { path: path.to_owned(), message };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| not_toml(error.to_string()))?;
        let origin = Origin::File(path.to_owned());
        for (section, entries) in table {
            let toml::Value::Table(entries) = entries else {
                return Err(unknown(&section, origin));
            };
            for (key, value) in entries {
                let name = format!("{section}.{key}");
                let value = match value {
                    toml::Value::String(text) => text,
                    toml::Value::Integer(number) => number.to_string(),
                    other => other.to_string(),
                };
                self.set(&name, value, origin.clone())?;
            }
        }
        Ok(())
    }

    fn read_variable(&mut self, variable: &str, value: String) -> Result<(), ConfigError> {
        let origin = Origin::Variable(variable.to_owned());
        let (name, value) = match variable.strip_suffix("_FILE") {
            Some(name) if is_secret(name) => (name, read(Path::new(&value), variable)?.trim().to_owned()),
            Some(_) | None => (variable, value),
        };
        if name == API_KEY {
            self.api_key = Some(value).filter(|key| !key.is_empty());
            return Ok(());
        }
        if let Some(key) = KEYS.iter().find(|key| super::keys::variable(key.name) == name) {
            self.set(key.name, value, origin)
        } else {
            let known: Vec<_> = KEYS.iter().map(|key| super::keys::variable(key.name)).collect();
            let known = known.iter().map(String::as_str).chain([API_KEY]);
            let nearest = nearest(name, known).to_owned();
            let key = KEYS.iter().find(|key| super::keys::variable(key.name) == nearest);
            let nearest = key.map_or(nearest.clone(), |key| format!("{nearest} ({})", key.name));
            Err(ConfigError::UnknownKey { name: name.to_owned(), nearest, origin })
        }
    }

    fn set(&mut self, name: &str, value: String, origin: Origin) -> Result<(), ConfigError> {
        let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| unknown(name, origin.clone()))?;
        self.values.insert(key.name, (value, origin));
        Ok(())
    }

    fn get(&self, name: &str) -> &(String, Origin) {
        self.values.get(name).expect("every key of the table has a value, its default at least")
    }

    /// A value as text.
    pub fn text(&self, name: &str) -> &str {
        &self.get(name).0
    }

    /// A whole number within bounds.
    pub fn number(&self, name: &str, least: u64, greatest: u64) -> Result<u64, ConfigError> {
        let number = self.text(name).parse().ok().filter(|number| (least..=greatest).contains(number));
        number.ok_or_else(|| self.wrong(name, &format!("a whole number, {least} to {greatest}")))
    }

    /// An address to listen on.
    pub fn address(&self, name: &str) -> Result<SocketAddr, ConfigError> {
        let text = self.text(name).replace("localhost:", "127.0.0.1:");
        text.parse().map_err(|_| self.wrong(name, "an address such as 127.0.0.1:5000 or 0.0.0.0:5000"))
    }

    /// A time span such as `7d`, `36h`, `15m`, `30s`.
    pub fn duration(&self, name: &str) -> Result<Millis, ConfigError> {
        let text = self.text(name).trim();
        let units =
            [("ms", 1), ("s", instant::SECOND), ("m", instant::MINUTE), ("h", instant::HOUR), ("d", instant::DAY)];
        let read = |(unit, millis): (&str, Millis)| {
            let number: Millis = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(millis).filter(|span| *span > 0)
        };
        units.into_iter().find_map(read).ok_or_else(|| self.wrong(name, "a time span such as 7d, 36h, 15m or 30s"))
    }

    /// The error of a value that does not fit.
    pub fn wrong(&self, name: &str, expected: &str) -> ConfigError {
        let (value, origin) = self.get(name);
        let secret = KEYS.iter().any(|key| key.name == name && key.kind == Kind::Secret);
        let got = if secret { masked(value) } else { value.clone() };
        ConfigError::Value { name: name.to_owned(), expected: expected.to_owned(), got, origin: origin.clone() }
    }

    /// What is in force as TOML, secrets masked.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if of != section {
                let blank = if section.is_empty() { "" } else { "\n" };
                text.extend([blank, "[", of, "]\n"]);
                section = of;
            }
            let (_, origin) = self.get(key.name);
            text.extend([name, " = ", &self.shown(key), " # ", &origin.to_string(), "\n"]);
        }
        text
    }

    /// What is in force as JSON, secrets masked.
    pub fn to_json(&self) -> serde_json::Value {
        let entry = |key: &Key| {
            let (_, origin) = self.get(key.name);
            (key.name.to_owned(), json!({"value": self.masked(key), "origin": origin.to_string()}))
        };
        serde_json::Value::Object(KEYS.iter().map(entry).collect())
    }

    fn masked(&self, key: &Key) -> String {
        let value = self.text(key.name);
        if key.kind == Kind::Secret { masked(value) } else { value.to_owned() }
    }

    fn shown(&self, key: &Key) -> String {
        let value = self.masked(key);
        if key.kind == Kind::Number { value } else { toml::Value::String(value).to_string() }
    }
}

/// A secret without what is secret in it: of an address the part behind the password stays, of anything else nothing.
fn masked(value: &str) -> String {
    match value.split_once("://") {
        _ if value.is_empty() => String::new(),
        Some((scheme, rest)) if !rest.contains('@') && !rest.contains('?') => format!("{scheme}://{rest}"),
        Some((scheme, _)) => format!("{scheme}://***"),
        None => "***".to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    name == API_KEY || KEYS.iter().any(|key| key.kind == Kind::Secret && variable(key.name) == name)
}

fn unknown(name: &str, origin: Origin) -> ConfigError {
    let nearest = nearest(name, KEYS.iter().map(|key| key.name)).to_owned();
    ConfigError::UnknownKey { name: name.to_owned(), nearest, origin }
}

fn read(path: &Path, named_by: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        named_by: named_by.to_owned(),
        message: error.to_string(),
    })
}
