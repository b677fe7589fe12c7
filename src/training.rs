//! Definition and model as files: read, checked, and trained where there is none. How a forest is trained is not known here.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use models::artefact::{Artefact, ArtefactError};
use models::bootstrap::{Inputs, Progress, bootstrap};
use models::model::Model;
use models::table::Source;
use models::train::Options;
use twin::definition::{Definition, Labels};
use twin::fold::Blueprint;
use twin::instant::Millis;

use crate::breaker::Scoring;
use crate::render::ServedModel;
use crate::scoring::Measured;

/// Where the repository's own tables stand.
pub const SENSORS: &str = "data/sensors.csv";
/// See [`SENSORS`].
pub const MAINTENANCE: &str = "data/maintenance.csv";
/// Path of the definition that is built in as well.
const BUILT_IN: &str = "data/locomotive.toml";

/// Now.
pub fn now() -> Millis {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as Millis)
}

/// Reads an asset definition. The locomotive's own is built in, for a program that runs away from its repository.
pub fn blueprint(path: &Path) -> Result<Arc<Blueprint>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == Path::new(BUILT_IN) => {
            include_str!("../data/locomotive.toml").to_owned()
        }
        Err(error) => bail!("{}: the asset definition cannot be read: {error}", path.display()),
    };
    let definition = Definition::parse(&text).with_context(|| format!("{}", path.display()))?;
    Ok(Arc::new(Blueprint::new(definition)))
}

/// The tables to train from.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Readings.
    pub sensors: PathBuf,
    /// Maintenance and failures.
    pub maintenance: Option<PathBuf>,
}

impl Tables {
    /// The tables named, or the repository's. Labels from a column need no maintenance table.
    pub fn of(sensors: Option<PathBuf>, maintenance: Option<PathBuf>, labels: &Labels) -> Self {
        let usual = match labels {
            Labels::Horizon { .. } => Some(PathBuf::from(MAINTENANCE)),
            Labels::Column { .. } => None,
        };
        Self { sensors: sensors.unwrap_or_else(|| PathBuf::from(SENSORS)), maintenance: maintenance.or(usual) }
    }
}

/// Trains a model, with progress on standard error.
pub fn train(tables: &Tables, blueprint: &Blueprint, options: &Options) -> Result<Artefact> {
    let bar = Bar::new(options.trees);
    let inputs = Inputs {
        readings: Source::open(&tables.sensors)?,
        maintenance: tables.maintenance.as_deref().map(Source::open).transpose()?,
        blueprint,
        created_at: now(),
    };
    let artefact = bootstrap(inputs, options, &|progress| bar.show(progress))?;
    bar.end();
    Ok(artefact)
}

/// Loads the model in force; where there is none, trains it and keeps it.
pub fn load_or_train(path: &Path, blueprint: &Blueprint) -> Result<Model> {
    let artefact = match Artefact::load(path) {
        Ok(artefact) => artefact,
        Err(ArtefactError::Missing { .. }) => {
            eprintln!("There is no model at {} yet: one is trained now.", path.display());
            let tables = Tables::of(None, None, &blueprint.definition.labels);
            let hint = || {
                let name = &blueprint.definition.name;
                format!(
                    "no model could be trained for {name:?}; make one with `cidp bootstrap --definition F --sensors F`"
                )
            };
            let artefact = train(&tables, blueprint, &Options::default()).with_context(hint)?;
            artefact.save(path)?;
            artefact
        }
        Err(error) => return Err(error.into()),
    };
    Model::new(&artefact, blueprint).with_context(|| format!("{}", path.display()))
}

/// A model as the API serves it.
pub fn served(model: Model, blueprint: &Arc<Blueprint>) -> Result<ServedModel> {
    let card = serde_json::to_value(model.card()).context("the model card")?;
    let (scorer, blueprint) = (Arc::new(Measured(model)), Arc::clone(blueprint));
    Ok(ServedModel { card, scorer, blueprint, scoring: Scoring::default() })
}

/// Progress for people: a bar at a terminal, a few lines anywhere else.
struct Bar {
    bar: Option<ProgressBar>,
    quarter: Mutex<usize>,
}

impl Bar {
    fn new(trees: usize) -> Self {
        let style = ProgressStyle::with_template("{msg:20} {bar:40} {pos}/{len} trees, {eta} left");
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(trees as u64));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Self { bar, quarter: Mutex::new(0) }
    }

    fn show(&self, progress: Progress) {
        let message = match progress {
            Progress::Reading => "reading the tables".to_owned(),
            Progress::Folding { readings } => format!("folding {readings} readings"),
            Progress::Training { .. } => "training".to_owned(),
            Progress::Judging => "judging".to_owned(),
        };
        match (&self.bar, progress) {
            (Some(bar), Progress::Training { done, .. }) => {
                bar.set_message(message);
                bar.set_position(done as u64);
            }
            (Some(bar), _) => bar.set_message(message),
            (None, Progress::Training { done, trees }) => {
                let mut told = self.quarter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let quarter = done * 4 / trees.max(1);
                if quarter > *told {
                    *told = quarter;
                    eprintln!("training: {done} of {trees} trees");
                }
            }
            (None, _) => eprintln!("{message}"),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
