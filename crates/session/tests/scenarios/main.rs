//! Several sessions in a virtual world: what users do, and what goes wrong.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // a scenario that cannot be set up is a failed test

mod world;

mod counts;
mod finding;
mod limits;
mod lives;
mod meeting;
mod places;
