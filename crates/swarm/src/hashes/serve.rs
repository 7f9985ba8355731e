use std::collections::BTreeMap;

use starling_metainfo::Sha256Hash;
use starling_sansio::Time;

use super::files::Files;
use super::{Answer, HashLimits};
use crate::{ConnId, HashRange, Message};

/// Answering hash requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Serve {
    allowances: BTreeMap<ConnId, Allowance>,
    /// Requests for leaves of a piece that the disk was asked for.
    waiting: Vec<(u32, ConnId, HashRange)>,
}

/// Hashes a peer may still have, at a moment.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    hashes: f64,
    at: Time,
}

impl Serve {
    pub fn on_disconnect(&mut self, conn: ConnId) {
        self.allowances.remove(&conn);
        self.waiting.retain(|(_, who, _)| *who != conn);
    }

    pub fn on_request(
        &mut self,
        now: Time,
        conn: ConnId,
        range: HashRange,
        have: impl Fn(u32) -> bool,
        files: &mut Files,
        limits: &HashLimits,
    ) -> Answer {
        let reject = Answer::Send(Message::HashReject(range));
        let Some(tree) = files.get_mut(&range.pieces_root).filter(|tree| tree.is_known()) else {
            return reject;
        };
        if !tree.shape.allows(super::nodes_of(&range)) || !self.allow(now, conn, range.length, limits) {
            return reject;
        }
        if range.base_layer >= tree.base() {
            let hashes = tree.answer(&range);
            return hashes.map_or(reject, |hashes| Answer::Send(Message::Hashes { range, hashes }));
        }
        let Some(at) = tree.piece_of(&range) else { return reject };
        let piece = tree.pieces.start.saturating_add(at);
        if !have(piece) || self.waiting.len() >= limits.waiting_max {
            return reject;
        }
        let asked = self.waiting.iter().any(|(waiting, ..)| *waiting == piece);
        self.waiting.push((piece, conn, range));
        Answer::Digest((!asked).then_some(piece))
    }

    pub fn on_digests(
        &mut self,
        piece: u32,
        digests: &[Sha256Hash],
        files: &mut Files,
    ) -> Vec<(ConnId, Message)> {
        let waiting = std::mem::take(&mut self.waiting);
        let (ready, still) = waiting.into_iter().partition::<Vec<_>, _>(|(waiting, ..)| *waiting == piece);
        self.waiting = still;
        let answer = |(_, conn, range): (u32, ConnId, HashRange)| {
            let hashes = files.get_mut(&range.pieces_root).and_then(|tree| {
                let at = piece.checked_sub(tree.pieces.start)?;
                tree.answer_below(&range, at, digests)
            });
            let reject = Message::HashReject(range);
            (conn, hashes.map_or(reject, |hashes| Message::Hashes { range, hashes }))
        };
        ready.into_iter().map(answer).collect()
    }

    /// Whether the peer may have so many hashes now.
    fn allow(&mut self, now: Time, conn: ConnId, hashes: u32, limits: &HashLimits) -> bool {
        if self.allowances.len() >= limits.peers_max && !self.allowances.contains_key(&conn) {
            return false;
        }
        let burst = f64::from(limits.serve_burst);
        let held = self.allowances.entry(conn).or_insert(Allowance { hashes: burst, at: now });
        let refill = now.since(held.at).as_secs_f64() * f64::from(limits.serve_rate);
        held.hashes = (held.hashes + refill).min(burst) - f64::from(hashes);
        held.at = now.max(held.at);
        if held.hashes < 0.0 {
            held.hashes += f64::from(hashes);
            return false;
        }
        true
    }
}
