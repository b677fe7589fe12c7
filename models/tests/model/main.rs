//! Promises of the whole way from tables to a model in force.

mod artefact;
mod clear;
mod drift;
mod elsewhere;
mod fleet;
mod support;
mod tables;
