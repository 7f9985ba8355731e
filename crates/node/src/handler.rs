//! What the connections tell the engine, and how blocks get to them.

use std::io::IoSliceMut;
use std::net::SocketAddr;

use bytes::Bytes;
use starling_net::{Closed, Fill, PeerHandle, PeerHandler};
use starling_session::Input;
use starling_swarm::{Block, ConnId, Handshake, Message};

use crate::engine::Engine;

impl PeerHandler for Engine {
    fn handshake(&self, peer: &PeerHandle, theirs: Handshake) -> Option<Handshake> {
        let conn = peer.conn();
        self.core.borrow_mut().handles.insert(conn, peer.clone());
        self.feed(Input::Handshake { conn, theirs: theirs.clone() });
        let reply = self.core.borrow_mut().reply.take();
        if peer.outbound() { Some(theirs) } else { reply }
    }

    fn message(&self, conn: ConnId, message: Message, payload: Bytes) {
        self.feed_with(Input::Message { conn, message }, payload);
    }

    fn batch_end(&self, _: ConnId) {}

    fn sent(&self, conn: ConnId, bytes: u32) {
        self.feed(Input::Sent { conn, bytes });
    }

    fn may_read(&self, conn: ConnId) -> bool {
        let key = self.core.borrow().session.torrent_of(conn);
        key.is_none_or(|key| self.disk.room(starling_disk::TorrentKey(key.0)))
    }

    fn fill(&self, conn: ConnId, blocks: &[Block], bufs: &mut [IoSliceMut<'_>]) -> Fill {
        let core = &mut *self.core.borrow_mut();
        let Some(key) = core.session.torrent_of(conn) else { return Fill::Pending(0) };
        let key = starling_disk::TorrentKey(key.0);
        let mut ready = 0;
        while ready < blocks.len() {
            let run = contiguous(&blocks[ready..]);
            let bufs = &mut bufs[ready..ready + run];
            let first = blocks[ready];
            if self.disk.read_cached(key, first.piece, first.begin, bufs).is_none() {
                break;
            }
            ready += run;
        }
        if ready == blocks.len() {
            return Fill::Ready;
        }
        for &block in &blocks[ready..] {
            core.next_read += 1;
            core.reads.insert(core.next_read, (conn, block));
            self.disk.read(key, core.next_read, block.piece, block.begin, block.length);
        }
        Fill::Pending(ready)
    }

    fn closed(&self, conn: ConnId, why: Closed) {
        tracing::debug!(conn = conn.0, %why, "closed");
        self.core.borrow_mut().handles.remove(&conn);
        self.feed(Input::Closed { conn });
    }
}

impl Engine {
    /// Gives a new incoming connection its number, unless the session refuses it.
    pub(crate) fn admit(&self, addr: SocketAddr) -> Option<ConnId> {
        let conn = self.core.borrow_mut().session.new_conn();
        self.feed(Input::Accepted { conn, addr });
        if self.core.borrow_mut().refused.remove(&conn) {
            self.feed(Input::Closed { conn });
            return None;
        }
        Some(conn)
    }
}

/// How many of the first blocks follow each other in one piece.
fn contiguous(blocks: &[Block]) -> usize {
    let follows = |pair: &[Block]| {
        pair[0].piece == pair[1].piece && pair[0].begin.checked_add(pair[0].length) == Some(pair[1].begin)
    };
    1 + blocks.windows(2).take_while(|pair| follows(pair)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_the_piece_or_the_order_does() {
        let block = |piece, begin| Block { piece, begin, length: 10 };
        assert_eq!(contiguous(&[block(0, 0)]), 1);
        assert_eq!(contiguous(&[block(0, 0), block(0, 10), block(0, 20), block(0, 40)]), 3);
        assert_eq!(contiguous(&[block(0, 10), block(1, 20)]), 1);
    }
}
