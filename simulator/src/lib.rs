//! A simulated fleet of diesel locomotives: they haul loads between Douala and Ngaoundéré, wear in secret, fail, and are repaired.
//!
//! What the twin may know of them is their readings alone. Everything follows from a seed and the time asked for: no clock, no I/O, and
//! transcendental functions from `libm`, so that every build gives the same bits.

pub mod dataset;
pub mod demonstration;
pub mod fleet;
pub mod line;
mod locomotive;
pub mod month;
mod random;
pub mod reading;
mod sensors;
pub mod shift;
mod wear;

pub use demonstration::Demonstration;
pub use fleet::{Fleet, FleetOptions};
pub use month::{Month, MonthOptions};
pub use reading::{SimEvent, SimReading, Work, WorkKind};
pub use shift::Shift;
