//! Every model that was ever in force, kept by its id: a recorded score can be computed again only with the model that made it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use models::artefact::{Artefact, ArtefactError};
use models::model::Model;
use twin::fold::Blueprint;
use twin::ids::ModelId;

/// The directory of kept models.
#[derive(Debug, Clone)]
pub struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    /// That of a log.
    pub fn of(log: &Path) -> Self {
        Self { directory: log.join("models") }
    }

    fn path(&self, id: ModelId) -> PathBuf {
        self.directory.join(format!("{id}.onnx"))
    }

    /// Keeps a model that comes into force. One that is there already stays as it is.
    pub fn keep(&self, artefact: &Artefact) -> Result<(), ArtefactError> {
        let path = self.path(ModelId::of(&artefact.onnx));
        match Artefact::load(&path) {
            Ok(kept) if kept.onnx == artefact.onnx => Ok(()),
            Ok(_) | Err(_) => artefact.save(&path),
        }
    }

    /// A kept model, ready to score under a definition.
    pub fn model(&self, id: ModelId, blueprint: &Arc<Blueprint>) -> Result<Model> {
        let path = self.path(id);
        let artefact = Artefact::load(&path).with_context(|| {
            format!(
                "the model {id} that made these scores is not kept as it was; put its two files back as {}",
                path.display()
            )
        })?;
        let found = ModelId::of(&artefact.onnx);
        if found != id {
            bail!("{}: expected the model {id}, got {found}; put the right files back", path.display());
        }
        Model::new(&artefact, blueprint).with_context(|| path.display().to_string())
    }
}
