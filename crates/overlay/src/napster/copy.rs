//! A server's copy of what the clients of another have, part by part.

use super::message::{Change, Cursor, Did, MAX_CHANGES, Message};
use super::replicate::{apply, own_beat};
use super::{Asked, Napster, Part, Server};
use crate::wire::{LIST_BYTES, List, MAX_TEXT};
use crate::{Event, Host, Offence, Peer, RpcId};

/// Changes of a part of an index that has no room for more, however long their names are.
const LEAST_CHANGES: usize = LIST_BYTES / (2 * MAX_TEXT);

/// A copy under way.
#[derive(Clone, Debug)]
pub(super) struct Copying<P> {
    pub(super) from: P,
    after: Option<Cursor<P>>,
    /// Epoch and number of changes when it began.
    base: Option<(u32, u64)>,
    /// Records that were told so far.
    told: usize,
    failures: u8,
    /// How often it began anew, since the other did.
    anew: u8,
}

impl<P> Copying<P> {
    fn of(from: P, anew: u8) -> Self {
        Copying { from, after: None, base: None, told: 0, failures: 0, anew }
    }
}

impl<P: Peer> Napster<P> {
    /// Copies from the next server that is not copied yet; if there is none, this one
    /// is ready.
    pub(super) fn copy_next(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Server(server) = &mut self.part else { return };
        if server.copying.is_some() {
            return;
        }
        match server.links.iter().find(|link| link.applied.is_none()) {
            Some(link) => {
                let from = link.peer;
                server.index.drop_origin(from);
                server.copying = Some(Copying::of(from, 0));
                self.ask_copy(host);
            }
            None if !server.ready => self.get_ready(host),
            None => {}
        }
    }

    fn ask_copy(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Server(server) = &self.part else { return };
        let Some(copying) = &server.copying else { return };
        let deadline = self.now + self.config.rpc_timeout;
        if let Some(rpc) = self.rpcs.open(copying.from, deadline, Asked::Copy, host.rng()) {
            let (token, after) = (self.config.token, copying.after);
            host.send(copying.from, Message::CopyIndex { rpc, token, after });
        }
    }

    /// A part of a copy came.
    pub(super) fn copied(
        &mut self,
        from: P,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let Part::Server(server) = &mut self.part else { return };
        let Some(copying) = server.copying.as_mut().filter(|copying| copying.from == from) else { return };
        let Message::Copied { epoch, made, changes, more, .. } = message else {
            host.refuse(Some(from), Offence::Misdirected);
            return self.not_copied(from, host);
        };
        let base = *copying.base.get_or_insert((epoch, made));
        if base.0 != epoch {
            // The other has no more what was copied so far.
            let anew = copying.anew + 1;
            if anew >= self.config.tries.max(1) {
                return self.server_gone(from, true, host);
            }
            server.copying = Some(Copying::of(from, anew));
            server.index.drop_origin(from);
            return self.ask_copy(host);
        }
        copying.failures = 0;
        copying.told += changes.len();
        let last = changes.last().and_then(cursor_of);
        let forward =
            last.filter(|last| copying.after.is_none_or(|after| (after.0, after.1) < (last.0, last.1)));
        copying.after = forward.or(copying.after);
        let full = forward.is_some() && changes.len() >= LEAST_CHANGES;
        let room = copying.told < self.config.limits.records;
        for change in changes.into_vec() {
            if change.client != self.me && matches!(change.what, Did::Offered { .. }) {
                apply(server, from, change);
            }
        }
        if more && full && room {
            return self.ask_copy(host);
        }
        if more {
            host.refuse(Some(from), if full { Offence::Full } else { Offence::OutOfRange });
        }
        server.copying = None;
        if let Some(link) = server.links.iter_mut().find(|link| link.peer == from) {
            link.heard = self.now;
            (link.epoch, link.applied) = (epoch, Some(base.1));
        }
        self.copy_next(host);
    }

    pub(super) fn not_copied(&mut self, from: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let tries = self.config.tries.max(1);
        let Part::Server(server) = &mut self.part else { return };
        let Some(copying) = server.copying.as_mut().filter(|copying| copying.from == from) else { return };
        copying.failures += 1;
        if copying.failures < tries {
            self.ask_copy(host);
        } else {
            self.server_gone(from, true, host);
        }
    }

    /// The index is whole: this node serves.
    fn get_ready(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let (me, now) = (self.me, self.now);
        let Part::Server(server) = &mut self.part else { return };
        server.ready = true;
        server.links.iter_mut().for_each(|link| link.heard = now);
        let known = server.index.life(me);
        let told = std::mem::replace(&mut server.told, true);
        if !told {
            host.emit(Event::Joined);
        }
        let lost: Vec<P> = server.departed.iter().map(|departed| departed.peer).collect();
        let message = own_beat(server, me, self.config.token);
        self.begin_life(self.life.max(known).saturating_add(1));
        self.offer_own(host);
        self.beat(host);
        // Whoever was taken for dead, or waits for an heir, hears it now.
        lost.into_iter().for_each(|peer| host.send(peer, message.clone()));
        self.ask_waiting(host);
    }
}

pub(super) fn copied_part<P: Peer>(
    server: &Server<P>,
    me: P,
    rpc: RpcId,
    after: Option<Cursor<P>>,
) -> Message<P> {
    let part = server.index.copy(me, after.map(|cursor| (cursor.0, cursor.1)), MAX_CHANGES);
    let full = part.len() == MAX_CHANGES;
    let offered =
        part.iter().map(|(client, life, record)| (*client, *life, Did::Offered { record: record.clone() }));
    let changes = List::fitting(offered.map(|(client, life, what)| Change { client, life, what }));
    let more = full || changes.len() < part.len();
    let (epoch, made) = (server.log.epoch, server.log.made);
    Message::Copied { rpc, epoch, made, changes, more }
}

fn cursor_of<P: Copy>(change: &Change<P>) -> Option<Cursor<P>> {
    match &change.what {
        Did::Offered { record } => Some(Cursor(change.client, record.key)),
        _ => None,
    }
}
