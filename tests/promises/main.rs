//! The promises of the whole building, kept by the program as it is shipped: every test starts the real binary as a process on free
//! ports of this machine, in a directory of its own, and talks to it from outside. Nothing here calls the program's own functions.

mod answers;
mod asset;
mod audit;
mod breaker;
mod clear;
mod commands;
mod crash;
mod demonstration;
mod doors;
mod doubt;
mod faults;
mod follow;
mod home;
mod keeping;
mod keys;
mod ledger;
mod live;
mod openapi;
mod overload;
mod past;
mod readings;
mod refusals;
mod rig;
mod schema;
mod series;
mod serve;
mod stream;
mod trial;
