//! What sessions ask of the world, done.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::Bitfield;
use starling_session::{Event, Input, JobId, Output};
use starling_swarm::{Block, ConnId, FetchEnd, Input as Swarm, Output as SwarmOutput};
use starling_tracker::{TrackerError, http};

use super::Class;
use super::content::TRACKER;
use super::host::{KEY, addr_of, host_of};
use super::pipe::What;
use super::world::{Happening, World};

/// From a question to the tracker to its answer.
const TRACKER_TIME: Duration = Duration::from_millis(100);

impl World {
    pub(super) fn carry(&mut self, host: usize, output: Output) {
        match output {
            Output::Dial { conn, addr, handshake } => self.dial(host, conn, addr, handshake),
            Output::Reply { conn, handshake } => self.send(host, conn, What::Handshake(handshake)),
            Output::Close { conn, .. } => self.close(host, conn),
            Output::Torrent { output, .. } => self.carry_swarm(host, output),
            Output::Open { key, .. } => {
                let have: Bitfield = self.hosts[host].disk.have().clone();
                let input = Input::Opened { key, have, piece_layers: BTreeMap::new() };
                self.answer(self.setting.disk.latency, host, input);
            }
            Output::HttpGet { job, url, .. } => self.ask_tracker(host, job, &url),
            Output::Resolve { job, .. } => {
                self.answer(Duration::ZERO, host, Input::Resolved { job, addrs: Vec::new() });
            }
            Output::Event { event, .. } => self.event(host, &event),
            // No LAN, no UDP trackers, nobody scrapes or stops.
            Output::LsdSend { .. } | Output::UdpSend { .. } | Output::Scraped { .. } | Output::Stopped => {}
        }
    }

    fn carry_swarm(&mut self, host: usize, output: SwarmOutput) {
        match output {
            SwarmOutput::Send { conn, message } => self.send(host, conn, What::Message(message)),
            SwarmOutput::SendBlock { conn, block } => {
                self.note(u64::from(block.piece), u64::from(block.begin));
                let bytes = self.read(host, block);
                self.send(host, conn, What::Block(block, bytes));
            }
            SwarmOutput::Store { block } => self.store(host, block),
            SwarmOutput::Retry { piece, keep } => self.hosts[host].disk.retry(piece, &keep),
            SwarmOutput::Digest { piece } => {
                let input = Swarm::BlockDigests { piece, digests: self.content.digests(piece) };
                self.answer(self.setting.disk.latency, host, Input::Torrent { key: KEY, input });
            }
            SwarmOutput::Fetch { seed, .. } => {
                let input = Swarm::FetchEnded { seed, end: FetchEnd::Useless };
                self.answer(Duration::ZERO, host, Input::Torrent { key: KEY, input });
            }
            // There are no web seeds and no v2 hashes; closes and events the session keeps.
            SwarmOutput::CancelFetch { .. } | SwarmOutput::PieceRoots { .. } => {}
            SwarmOutput::Close { .. } | SwarmOutput::Event(_) => {}
        }
    }

    fn send(&mut self, host: usize, conn: ConnId, what: What) {
        if let Some(end) = self.hosts[host].conns.get(conn) {
            self.put(end, what);
        }
    }

    /// The bytes that a host sends for a block.
    fn read(&mut self, host: usize, block: Block) -> Bytes {
        let lies = self.hosts[host].class == Class::Poisoner && self.rng.unit() < self.setting.lies;
        if lies { self.content.false_block(block) } else { self.content.block(block) }
    }

    fn store(&mut self, host: usize, block: Block) {
        let now = self.now;
        let h = &mut self.hosts[host];
        let Some(bytes) = h.incoming.take() else { return };
        if let Some((at, input)) = h.disk.store(now, block, bytes) {
            self.answer(at.since(now), host, Input::Torrent { key: KEY, input });
        }
    }

    /// The tracker's answer, by the code of a real one.
    fn ask_tracker(&mut self, host: usize, job: JobId, url: &str) {
        let target = url.strip_prefix("http://tracker").filter(|_| url.starts_with(TRACKER));
        let ip = addr_of(host).ip();
        let body = target.and_then(|target| http::serve(self.now, ip, target, &mut self.tracker));
        let result = body.map(Bytes::from).ok_or(TrackerError::Unresolved);
        self.answer(TRACKER_TIME, host, Input::HttpAnswer { job, result });
    }

    fn event(&mut self, host: usize, event: &Event) {
        let leeches = matches!(self.hosts[host].class, Class::Contributor | Class::FreeRider);
        match event {
            Event::Have { .. } if leeches => self.pieces += 1,
            Event::Finished if leeches && self.hosts[host].finished.is_none() => {
                self.hosts[host].finished = Some(self.now);
                self.unfinished -= 1;
            }
            Event::Banned { ip, .. } => {
                if let Some(liar) = host_of(*ip).and_then(|liar| self.hosts.get_mut(liar)) {
                    liar.bans += 1;
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, wait: Duration, host: usize, input: Input) {
        self.after(wait, Happening::Answer { host, input: Box::new(input) });
    }
}
