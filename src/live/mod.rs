//! The live stream: what was made durable, told to whoever listens. One hub hears the fleet and keeps what is recent once for all clients;
//! each client reads from there at its own pace, so that a slow one costs neither memory nor anybody else's time.

mod delay;
pub mod filter;
pub mod frames;
pub mod hub;
pub mod resume;
pub mod session;
pub mod socket;
pub mod token;
