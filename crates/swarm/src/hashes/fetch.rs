use std::collections::BTreeMap;
use std::ops::Range;

use starling_metainfo::Sha256Hash;
use starling_sansio::Time;

use super::files::Files;
use super::{HashLimits, HashProgress, nodes_of, request};
use crate::{ConnId, HashRange};

/// Asking for hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetch {
    peers: BTreeMap<ConnId, Source>,
    /// What has come of each job; jobs for layers begin with their first answer.
    parts: BTreeMap<Job, BTreeMap<u32, Vec<Sha256Hash>>>,
    /// Failed pieces whose leaves are wanted.
    leaves: Vec<u32>,
    in_flight: Vec<InFlight>,
    polled: Time,
}

/// A run of nodes to get.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Job {
    /// The leaves of a piece.
    Leaves(u32),
    /// The piece layer of the file with this root.
    Layer(Sha256Hash),
}

/// A request and what it is for.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    conn: ConnId,
    job: Job,
    chunk: u32,
    range: HashRange,
    sent: Time,
}

/// A job laid out over its tree.
struct Plan {
    root: Sha256Hash,
    base_layer: u32,
    first: u32,
    nodes: u32,
    chunk: u32,
}

impl Plan {
    fn chunks(&self) -> u32 {
        self.nodes.div_ceil(self.chunk)
    }

    /// Where in the tree a chunk lies: a power of two of nodes, at least two, so that
    /// the last may take in filling.
    fn span(&self, chunk: u32) -> Range<u32> {
        let rest = self.nodes - chunk * self.chunk;
        let start = self.first + chunk * self.chunk;
        start..start + rest.next_power_of_two().clamp(2, self.chunk)
    }
}

/// A peer that may be asked.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    paused_until: Time,
    failures: u32,
    /// It lied.
    refused: bool,
}

impl Source {
    fn pause(&mut self, now: Time, limits: &HashLimits) {
        self.paused_until = now + limits.pause.saturating_mul(1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
    }
}

impl Fetch {
    pub fn on_peer(&mut self, conn: ConnId, limits: &HashLimits) {
        if self.peers.len() < limits.peers_max {
            self.peers.entry(conn).or_default();
        }
    }

    pub fn on_disconnect(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
        self.in_flight.retain(|request| request.conn != conn);
    }

    pub fn want_leaves(&mut self, files: &Files, piece: u32, limits: &HashLimits) -> Option<Vec<Sha256Hash>> {
        let (_, tree, _) = files.of_piece(piece)?;
        if tree.base() == 0 {
            return files.piece_root(piece).map(|root| vec![root]);
        }
        if self.leaves.len() < limits.leaf_jobs_max && !self.leaves.contains(&piece) {
            self.leaves.push(piece);
        }
        None
    }

    pub fn forget_leaves(&mut self, piece: u32) {
        self.leaves.retain(|wanted| *wanted != piece);
        self.drop_job(Job::Leaves(piece));
    }

    pub fn poll(
        &mut self,
        now: Time,
        files: &Files,
        limits: &HashLimits,
        has: impl Fn(ConnId, Range<u32>) -> bool,
    ) -> Vec<(ConnId, HashRange)> {
        self.polled = now;
        self.expire(now, limits);
        let mut requests = Vec::new();
        while self.in_flight.len() < limits.in_flight_max {
            let Some((job, plan, chunk)) = self.next_chunk(files, limits) else { break };
            let Some((pieces, range)) = describe(files, &plan, chunk) else { break };
            let Some(conn) = self.choose_peer(now, limits, |conn| has(conn, pieces.clone())) else { break };
            self.in_flight.push(InFlight { conn, job, chunk, range, sent: now });
            requests.push((conn, range));
        }
        requests
    }

    pub fn next_timeout(&self, files: &Files, limits: &HashLimits) -> Option<Time> {
        let timeouts = self.in_flight.iter().map(|request| request.sent + limits.timeout);
        let idle = self.in_flight.is_empty() && self.leaves.is_empty() && files.missing().next().is_none();
        let asked = self.peers.values().filter(|source| !idle && !source.refused);
        timeouts.chain(asked.map(|source| source.paused_until)).filter(|&at| at > self.polled).min()
    }

    pub fn on_reject(&mut self, now: Time, conn: ConnId, range: HashRange, limits: &HashLimits) {
        if self.take(conn, range).is_some()
            && let Some(source) = self.peers.get_mut(&conn)
        {
            source.pause(now, limits);
        }
    }

    pub fn on_hashes(
        &mut self,
        files: &mut Files,
        conn: ConnId,
        range: HashRange,
        hashes: &[Sha256Hash],
        limits: &HashLimits,
    ) -> HashProgress {
        let Some(request) = self.take(conn, range) else { return HashProgress::Ignored };
        let Some(tree) = files.get(&range.pieces_root) else { return HashProgress::Ignored };
        let nodes = nodes_of(&range);
        if hashes.len() as u64 != u64::from(range.length) + u64::from(tree.shape.uncles(nodes)) {
            // Counting proof layers differently is a bug, not a lie.
            if let Some(source) = self.peers.get_mut(&conn) {
                source.pause(self.polled, limits);
            }
            return HashProgress::Ignored;
        }
        if !tree.shape.check(nodes, hashes, range.pieces_root) {
            if let Some(source) = self.peers.get_mut(&conn) {
                source.refused = true;
            }
            self.in_flight.retain(|request| request.conn != conn);
            return HashProgress::Lie;
        }
        if let Some(source) = self.peers.get_mut(&conn) {
            source.failures = 0;
        }
        let nodes = hashes.iter().take(range.length as usize).copied().collect();
        self.parts.entry(request.job).or_default().insert(request.chunk, nodes);
        self.finish(files, request.job)
    }

    /// Completes the job if everything is there.
    fn finish(&mut self, files: &mut Files, job: Job) -> HashProgress {
        let Some(plan) = plan(files, job, u32::MAX) else { return HashProgress::Stored };
        let Some(parts) = self.parts.get(&job) else { return HashProgress::Stored };
        // Every part is proved for its place, so what counts is only that none is missing.
        let padded: usize = parts.values().map(Vec::len).sum();
        if padded < plan.nodes as usize {
            return HashProgress::Stored;
        }
        let mut nodes: Vec<Sha256Hash> = parts.values().flatten().copied().collect();
        nodes.truncate(plan.nodes as usize);
        self.drop_job(job);
        match job {
            Job::Leaves(piece) => {
                self.leaves.retain(|wanted| *wanted != piece);
                HashProgress::Leaves { piece, leaves: nodes }
            }
            Job::Layer(root) => {
                HashProgress::LayerKnown { files: files.set_layer(root, nodes.clone()), roots: nodes }
            }
        }
    }

    fn drop_job(&mut self, job: Job) {
        self.parts.remove(&job);
        self.in_flight.retain(|request| request.job != job);
    }

    fn take(&mut self, conn: ConnId, range: HashRange) -> Option<InFlight> {
        let at = self.in_flight.iter().position(|r| r.conn == conn && r.range == range)?;
        Some(self.in_flight.swap_remove(at))
    }

    /// Leaves those alone who let a request wait too long.
    fn expire(&mut self, now: Time, limits: &HashLimits) {
        let (late, good) =
            self.in_flight.iter().partition::<Vec<_>, _>(|r| now.since(r.sent) >= limits.timeout);
        self.in_flight = good;
        let mut stalled: Vec<ConnId> = late.into_iter().map(|request: InFlight| request.conn).collect();
        stalled.dedup();
        for conn in stalled {
            if let Some(source) = self.peers.get_mut(&conn) {
                source.pause(now, limits);
            }
        }
    }

    /// The next part to ask for: leaves of failed pieces first, since a ban waits for them.
    fn next_chunk(&self, files: &Files, limits: &HashLimits) -> Option<(Job, Plan, u32)> {
        let leaves = self.leaves.iter().map(|&piece| Job::Leaves(piece));
        let layers = files.missing().map(Job::Layer);
        leaves.chain(layers).find_map(|job| {
            let plan = plan(files, job, limits.request_nodes)?;
            let parts = self.parts.get(&job);
            let asked = |chunk: u32| self.in_flight.iter().any(|r| r.job == job && r.chunk == chunk);
            let chunk = (0..plan.chunks())
                .find(|chunk| !parts.is_some_and(|parts| parts.contains_key(chunk)) && !asked(*chunk))?;
            Some((job, plan, chunk))
        })
    }

    /// Who to ask: a peer that has a piece under these nodes if there is one, and the one
    /// with the least to do.
    fn choose_peer(&self, now: Time, limits: &HashLimits, has: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        let load = |conn: ConnId| self.in_flight.iter().filter(|request| request.conn == conn).count();
        self.peers
            .iter()
            .filter(|(_, source)| !source.refused && source.paused_until <= now)
            .map(|(&conn, source)| (load(conn), source.failures, conn))
            .filter(|(load, ..)| *load < limits.in_flight_per_peer)
            .min_by_key(|&(load, failures, conn)| (!has(conn), load, failures, conn))
            .map(|(.., conn)| conn)
    }
}

/// How to get a job's nodes, at most `chunk` at a time.
fn plan(files: &Files, job: Job, chunk: u32) -> Option<Plan> {
    Some(match job {
        Job::Layer(root) => {
            let tree = files.get(&root)?;
            let base_layer = tree.base();
            let chunk = chunk.min(width(tree.shape.height() - base_layer));
            Plan { root, base_layer, first: 0, nodes: tree.shape.pieces(), chunk }
        }
        Job::Leaves(piece) => {
            let (root, tree, at) = files.of_piece(piece)?;
            let (first, nodes) = (at << tree.base(), tree.leaves(at));
            Plan { root, base_layer: 0, first, nodes, chunk: chunk.min(width(tree.base())) }
        }
    })
}

/// Nodes below one node that is so many layers up: a chunk never reaches beyond.
fn width(layers: u32) -> u32 {
    1 << layers.min(31)
}

/// The request for a chunk, and the pieces whose hashes it is about.
fn describe(files: &Files, plan: &Plan, chunk: u32) -> Option<(Range<u32>, HashRange)> {
    let tree = files.get(&plan.root)?;
    let span = plan.span(chunk);
    let up = tree.base() - plan.base_layer;
    let piece = |node: u32| tree.pieces.start.saturating_add(node >> up).min(tree.pieces.end);
    let pieces = piece(span.start)..piece(span.end - 1).saturating_add(1).min(tree.pieces.end);
    let length = span.end - span.start;
    Some((pieces, request(plan.root, tree.shape, plan.base_layer, span.start, length)))
}
