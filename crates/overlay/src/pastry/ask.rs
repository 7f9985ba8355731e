//! Questions: asked once and again, and what their answers tell of the network.

use std::time::Duration;

use starling_sansio::Time;

use super::message::{Find, Join, Parcel, PastryMessage};
use super::{Pastry, TRIES, World};
use crate::{Id, Offence, Peer, RpcId};

/// A question that is open.
#[derive(Clone, Debug)]
pub struct Asked<P> {
    pub what: What<P>,
    /// How often it was asked before.
    pub before: u8,
    /// When it was asked for the first and for the last time.
    pub first: Time,
    pub last: Time,
}

/// What was asked.
#[derive(Clone, Debug)]
pub enum What<P> {
    Find(Find<P>),
    Carry(Box<Parcel>),
    Join(Join<P>),
    /// An iterative find's next step.
    Step {
        op: u32,
        key: Id,
        hops: u16,
        values: bool,
    },
    /// Whether it is there, and its leaf set; `told` if another says that it is not.
    Leaf {
        told: bool,
    },
    Row {
        row: u8,
    },
    /// Whether it is there; and faster than who stands in its place.
    Ping {
        rival: Option<P>,
    },
}

impl<P: Peer> Pastry<P> {
    /// Sends a question and waits for its answer.
    pub(super) fn ask<H: World<P>>(&mut self, to: P, what: What<P>, host: &mut H) {
        self.ask_if_waiting(to, what, host);
    }

    /// Whether the answer will be known as one: not if too many questions are open.
    pub(super) fn ask_if_waiting<H: World<P>>(&mut self, to: P, what: What<P>, host: &mut H) -> bool {
        let (now, deadline) = (self.now, self.now + self.wait(to, 0, host));
        let asked = Asked { what: what.clone(), before: 0, first: now, last: now };
        let rpc = self.busy().open.open(to, deadline, asked, host.rng());
        let waits = rpc.is_some();
        let rpc = rpc.unwrap_or_else(|| {
            host.refuse(None, Offence::Full);
            RpcId(host.rng().next_u32())
        });
        // Nothing would come of a step's answer.
        if waits || !matches!(what, What::Step { .. }) {
            self.send_question(to, rpc, what, host);
        }
        waits
    }

    /// Asks once more under the same number: the answer may only be late.
    pub(super) fn ask_again<H: World<P>>(&mut self, to: P, rpc: RpcId, asked: Asked<P>, host: &mut H) {
        let asked = Asked { before: asked.before + 1, last: self.now, ..asked };
        let (deadline, what) = (self.now + self.wait(to, asked.before, host), asked.what.clone());
        self.busy().open.open_again(rpc, to, deadline, asked);
        self.send_question(to, rpc, what, host);
    }

    /// How long to wait for `to` that was asked so often before.
    fn wait<H: World<P>>(&self, to: P, before: u8, host: &H) -> Duration {
        let longest = self.config.answer_timeout;
        let first = host.distance(to).map_or(longest, |usual| self.patience.with(usual));
        first.saturating_mul(1 << before.min(TRIES)).min(longest)
    }

    fn send_question<H: World<P>>(&mut self, to: P, rpc: RpcId, what: What<P>, host: &mut H) {
        let message = match what {
            What::Find(find) => PastryMessage::Find { rpc, find },
            What::Carry(parcel) => PastryMessage::Carry { rpc, parcel },
            What::Join(join) => PastryMessage::Join { rpc, join },
            What::Step { op, key, hops, values } => PastryMessage::Ask { rpc, op, key, hops, values },
            What::Leaf { .. } => PastryMessage::LeafAsk { rpc, leaf: self.shown_leaf() },
            What::Row { row } => PastryMessage::RowAsk { rpc, row },
            What::Ping { .. } => PastryMessage::Ping { rpc },
        };
        host.send(to, message);
    }

    /// `peer`, and who else has not answered lately: what `peer` did not take goes around all.
    pub(super) fn silent_with(&self, peer: P) -> Vec<P> {
        let open = self.busy.iter().flat_map(|busy| busy.open.iter());
        let silent = open.filter(|(_, asked)| asked.before > 0).map(|(to, _)| to);
        let lost = self.busy.iter().flat_map(|busy| &busy.suspects).map(|suspect| suspect.0);
        std::iter::once(peer).chain(silent).chain(lost).collect()
    }

    /// Takes what question `rpc` to `from` was for; counts it if there is none.
    pub(super) fn answered_by<H: World<P>>(&mut self, from: P, rpc: RpcId, host: &mut H) -> Option<What<P>> {
        let Some(asked) = self.busy.as_mut().and_then(|busy| busy.open.close(rpc, from)) else {
            host.refuse(Some(from), Offence::UnknownReply);
            return None;
        };
        if let Some(usual) = host.distance(from) {
            // Sooner than it can be: it answers what was asked before. Otherwise nobody knows
            // what it answers, if it was asked twice.
            let early = self.now < asked.last + usual;
            let at_once = early || asked.before == 0;
            if at_once {
                self.patience.learn(self.now.since(asked.first), usual);
            }
            self.patience.count(!at_once);
        }
        Some(asked.what)
    }
}
