//! Forests as ONNX files: one `TreeEnsembleClassifier` of the domain `ai.onnx.ml`. The model card beside the file is not known here.
//!
//! Training rows behind each node go into `nodes_hitrates` ("popularity of each node", optional in the standard), from which explanations
//! get the values of inner nodes; a file without such counts is explained with every leaf weighing the same ([`Trees::is_weighted`] says
//! which). The reader takes our own files and those of skl2onnx.

mod budget;
mod proto;
mod read;
mod write;

pub use read::{Contents, MAX_BYTES, ReadError, read, read_contents};
pub use write::write;

/// The operator.
const OPERATOR: &str = "TreeEnsembleClassifier";
/// Its domain.
const DOMAIN: &str = "ai.onnx.ml";
/// Key of the table from risk to probability in the file's metadata.
const CALIBRATION: &str = "cidp.calibration";

#[cfg(test)]
mod tests;
#[cfg(doc)]
use crate::tree::Trees;
