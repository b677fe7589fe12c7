//! The definitions that a log has adopted, and the columns that their sensors have in every table. Where they are kept is the store's affair.

use std::collections::BTreeMap;
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
    columns_of: BTreeMap<DefinitionId, Vec<usize>>,
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
        let mut columns = Vec::with_capacity(definition.sensors.len());
        for sensor in &definition.sensors {
            columns.push(self.column_of(&sensor.key).unwrap_or(self.columns.len()));
            if columns.last() == Some(&self.columns.len()) {
                self.columns.push(sensor.key.clone());
            }
        }
        self.columns_of.insert(definition.id, columns);
        let blueprint = Arc::new(Blueprint::new(definition));
        self.blueprints.add(Arc::clone(&blueprint));
        self.known.push(blueprint);
        Ok(true)
    }

    /// For decoding.
    pub const fn blueprints(&self) -> &Blueprints {
        &self.blueprints
    }

    /// The one with this id.
    pub fn get(&self, id: DefinitionId) -> Option<&Definition> {
        self.blueprints.get(id).ok().map(|blueprint| &blueprint.definition)
    }

    /// Keys of all sensors of all definitions, in the order in which they came: a column each.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The column of each sensor of a definition, in the order of a reading's values; `None` for a definition that is not known.
    pub fn columns_of(&self, id: DefinitionId) -> Option<&[usize]> {
        self.columns_of.get(&id).map(Vec::as_slice)
    }

    fn column_of(&self, key: &str) -> Option<usize> {
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
