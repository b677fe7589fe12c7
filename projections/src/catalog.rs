//! The definitions that a log has adopted, and the columns that their sensors have in every table. Where they are kept is the store's affair.

use std::sync::Arc;

use twin::definition::{Definition, DefinitionError};
use twin::features::FeatureId;
use twin::fold::{Blueprint, Blueprints};
use twin::ids::DefinitionId;

/// All definitions met so far, in the order of their adoption.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    blueprints: Blueprints,
    known: Vec<Arc<Blueprint>>,
    columns: Vec<String>,
}

impl Catalog {
    /// The definitions of these texts.
    ///
    /// # Errors
    /// A text that is no definition.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, DefinitionError> {
        let mut catalog = Self::default();
        for text in texts {
            catalog.adopt(text)?;
        }
        Ok(catalog)
    }

    /// Takes a definition; `true` where it is new.
    ///
    /// # Errors
    /// A text that is no definition.
    pub fn adopt(&mut self, text: &str) -> Result<bool, DefinitionError> {
        let definition = Definition::parse(text)?;
        if self.blueprints.get(definition.id).is_ok() {
            return Ok(false);
        }
        for sensor in &definition.sensors {
            if !self.columns.contains(&sensor.key) {
                self.columns.push(sensor.key.clone());
            }
        }
        let blueprint = Arc::new(Blueprint::new(definition));
        self.blueprints.add(Arc::clone(&blueprint));
        self.known.push(blueprint);
        Ok(true)
    }

    /// For decoding.
    pub const fn blueprints(&self) -> &Blueprints {
        &self.blueprints
    }

    /// The definitions, oldest first.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.known.iter().map(|blueprint| &blueprint.definition)
    }

    /// The one with this id.
    pub fn get(&self, id: DefinitionId) -> Option<&Definition> {
        self.blueprints.get(id).ok().map(|blueprint| &blueprint.definition)
    }

    /// Keys of all sensors of all definitions, in the order in which they came: a column each.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Column of the sensor with this key.
    pub fn column_of(&self, key: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == key)
    }

    /// Key of the sensor with this stable id, by the newest definition that has it.
    pub fn sensor_key(&self, id: u32) -> Option<&str> {
        let definition = |blueprint: &'_ Arc<Blueprint>| blueprint.definition.index_of(id).is_some();
        let newest = self.known.iter().rev().find(|blueprint| definition(blueprint))?;
        newest.definition.index_of(id).map(|index| newest.definition.sensors[index].key.as_str())
    }

    /// Name of a feature, by the newest definition that has it.
    pub fn feature_name(&self, id: FeatureId) -> Option<&str> {
        let features = self.known.iter().rev().flat_map(|blueprint| &blueprint.schema.features);
        features.into_iter().find(|feature| feature.id == id).map(|feature| feature.name.as_str())
    }
}
