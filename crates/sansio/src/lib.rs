//! The shape of a Starling core.
//!
//! A *core* is a protocol as a pure state machine: it owns no socket, file,
//! clock, thread or source of randomness. A *driver* (sockets and disks in
//! `net`, `disk` and `node`; virtual ones in `sim`) hands it inputs together
//! with the time, takes its outputs, and wakes it when a deadline passes.
//! The same core therefore runs on real networks and, a million times over, in
//! a simulator, and equal seeds and inputs give equal outputs to the byte.
//!
//! This crate deliberately contains no protocol, no executor and no trait for
//! drivers: only what every core's signature needs.

mod rng;
mod time;

pub use rng::Rng;
pub use time::Time;

/// Where a core puts what it wants done. The driver decides how and when.
pub trait Sink<O> {
    /// Takes one output. Never fails and never calls back into the core.
    fn put(&mut self, output: O);
}

impl<O> Sink<O> for Vec<O> {
    fn put(&mut self, output: O) {
        self.push(output);
    }
}

impl<O> Sink<O> for std::collections::VecDeque<O> {
    fn put(&mut self, output: O) {
        self.push_back(output);
    }
}

/// A protocol as a pure state machine.
///
/// Laws: no I/O, no clock, no randomness but a seeded [`Rng`] given at
/// construction, no order taken from a hash map, every collection bounded.
/// `now` never decreases for the driver's part; a core must survive it if it does.
pub trait Machine {
    /// What the world tells the core.
    type Input;
    /// What the core asks of the world.
    type Output;

    /// Takes one input and puts all outputs that follow from it into `out`.
    fn handle(&mut self, now: Time, input: Self::Input, out: &mut impl Sink<Self::Output>);

    /// Does everything that is due at `now`. Calling it early is harmless.
    fn handle_timeout(&mut self, now: Time, out: &mut impl Sink<Self::Output>);

    /// When [`Machine::handle_timeout`] next has work; to be asked again after every call.
    fn next_timeout(&self) -> Option<Time>;
}
