//! The random forest: trained from tables, written and read as ONNX, compiled for scoring, explained. Artefacts lie beside the source.
//!
//! What is absent here on purpose: no network, no clock (a card's date is handed in), no rule after the model.

pub mod artefact;
pub mod bootstrap;
pub mod calibration;
pub mod card;
pub mod clear;
pub mod curve;
pub mod domain;
pub mod drift;
pub mod explain;
pub mod forest;
pub mod lead;
pub mod leak;
pub mod metrics;
pub mod model;
pub mod onnx;
pub mod picture;
pub mod replay;
pub mod rows;
pub mod samples;
pub mod split;
pub mod table;
pub mod threshold;
pub mod train;
pub mod tree;
pub mod trial;
mod walk;
