//! Local service discovery (BEP 14) for the session's torrents; never for private ones.

use std::net::SocketAddr;

use bytes::Bytes;
use starling_sansio::{Machine, Sink, Time};
use starling_tracker::lsd::{Group, Input as Say, Output as Want};

use crate::{Output, Session, TorrentKey};

impl Session {
    pub(crate) fn start_lsd(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get(&key) else { return };
        if !self.config.lan || self.config.listen_port == 0 || entry.is_private() {
            return;
        }
        let names: Vec<_> = entry.hashes.wire_names().collect();
        for name in names {
            self.lsd_say(now, Say::Add(name), out);
        }
    }

    pub(crate) fn stop_lsd(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let names = self.torrents.get(&key).map(|entry| entry.names.clone()).unwrap_or_default();
        for name in names {
            self.lsd_say(now, Say::Remove(name), out);
        }
    }

    pub(crate) fn lsd_heard(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &Bytes,
        out: &mut impl Sink<Output>,
    ) {
        if self.config.lan {
            self.lsd_say(now, Say::Datagram { from, bytes: bytes.to_vec() }, out);
        }
    }

    pub(crate) fn tick_lsd(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if self.lsd.next_timeout().is_some_and(|due| due <= now) {
            let mut wants = Vec::new();
            self.lsd.handle_timeout(now, &mut wants);
            self.follow_lsd(now, wants, out);
        }
    }

    fn lsd_say(&mut self, now: Time, say: Say, out: &mut impl Sink<Output>) {
        let mut wants = Vec::new();
        self.lsd.handle(now, say, &mut wants);
        self.follow_lsd(now, wants, out);
    }

    fn follow_lsd(&mut self, now: Time, wants: Vec<Want>, out: &mut impl Sink<Output>) {
        for want in wants {
            match want {
                Want::Send { group, bytes } => out.put(Output::LsdSend { v6: group == Group::V6, bytes }),
                Want::Found { info_hash, addr } => {
                    if let Some(key) = self.by_wire.get(&info_hash).copied() {
                        self.lan_found(now, key, addr, info_hash, out);
                    }
                }
            }
        }
    }
}
