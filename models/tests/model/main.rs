//! Promises of the whole way from tables to a model in force.

mod artefact;
mod clear;
mod drift;
mod fleet;
mod support;
mod tables;
