use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use starling_metainfo::Sha1Hash;

use crate::Limits;

/// Bytes of one `Infohash` header.
const HASH_LINE: usize = "Infohash: \r\n".len() + 40;
/// Bytes of everything else, generously.
const FRAME: usize = 160 + Limits::LSD_COOKIE;

/// A multicast group of BEP 14.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Group {
    /// `239.192.152.143:6771`
    V4,
    /// `[ff15::efc0:988f]:6771`
    V6,
}

impl Group {
    /// Both.
    pub const ALL: [Group; 2] = [Group::V4, Group::V6];

    /// Where its datagrams go.
    pub const fn addr(self) -> SocketAddr {
        let ip = match self {
            Group::V4 => IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)),
            Group::V6 => IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)),
        };
        SocketAddr::new(ip, 6771)
    }
}

/// One announce: who sends it has these torrents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where the sender listens, at the address the datagram came from.
    pub port: u16,
    /// One or more torrents.
    pub info_hashes: Vec<Sha1Hash>,
    /// Tells a sender its own announces; no line break in it.
    pub cookie: Option<Vec<u8>>,
}

impl Message {
    /// How many info-hashes fit a datagram of [`Limits::LSD_DATAGRAM`] bytes.
    pub const HASHES: usize = (Limits::LSD_DATAGRAM - FRAME) / HASH_LINE;

    /// The datagram for `group`. At most [`Message::HASHES`] info-hashes travel.
    pub fn encode(&self, group: Group) -> Vec<u8> {
        let mut head = format!("BT-SEARCH * HTTP/1.1\r\nHost: {}\r\nPort: {}\r\n", group.addr(), self.port);
        for hash in self.info_hashes.iter().take(Message::HASHES) {
            let _ = write!(head, "Infohash: {hash}\r\n");
        }
        let mut out = head.into_bytes();
        if let Some(cookie) = self.cookie.as_ref().filter(|cookie| is_cookie(cookie)) {
            out.extend_from_slice(b"cookie: ");
            out.extend_from_slice(cookie);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n\r\n");
        out
    }

    /// Reads a datagram; `None` if it is no announce. Headers come in any order and
    /// case, lines may end without a carriage return, bad info-hashes are left out.
    pub fn decode(datagram: &[u8]) -> Option<Message> {
        let mut lines = datagram.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
        if !lines.next()?.starts_with(b"BT-SEARCH ") {
            return None;
        }
        let mut message = Message { port: 0, info_hashes: Vec::new(), cookie: None };
        for line in lines {
            let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            message.header(&name.to_ascii_lowercase(), value);
        }
        (message.port != 0 && !message.info_hashes.is_empty()).then_some(message)
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"port" => self.port = std::str::from_utf8(value).ok().and_then(|p| p.parse().ok()).unwrap_or(0),
            b"cookie" if is_cookie(value) => self.cookie = Some(value.to_vec()),
            b"infohash" if self.info_hashes.len() < Limits::LSD_HASHES => {
                self.info_hashes.extend(parse_hash(value));
            }
            _ => (),
        }
    }
}

fn is_cookie(bytes: &[u8]) -> bool {
    let plain = bytes.iter().all(u8::is_ascii_graphic);
    !bytes.is_empty() && bytes.len() <= Limits::LSD_COOKIE && plain
}

fn parse_hash(hex: &[u8]) -> Option<Sha1Hash> {
    let digit = |b: u8| u8::try_from(char::from(b).to_digit(16)?).ok();
    let pairs = hex.as_chunks::<2>();
    let mut hash = [0; 20];
    if hex.len() != 40 || !pairs.1.is_empty() {
        return None;
    }
    for (byte, &[high, low]) in hash.iter_mut().zip(pairs.0) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(Sha1Hash(hash))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(count: u8) -> Message {
        let info_hashes = (0..count).map(|i| Sha1Hash([i; 20])).collect();
        Message { port: 6881, info_hashes, cookie: Some(b"c00c1e".to_vec()) }
    }

    #[test]
    fn an_announce_reads_as_the_specification_has_it() {
        let text = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
                    Infohash: 0000000000000000000000000000000000000000\r\ncookie: c00c1e\r\n\r\n\r\n";
        assert_eq!(message(1).encode(Group::V4), text.as_bytes());
        let text = String::from_utf8(message(1).encode(Group::V6)).unwrap();
        assert!(text.contains("\r\nHost: [ff15::efc0:988f]:6771\r\n"));
    }

    #[test]
    fn a_full_datagram_is_not_fragmented() {
        let full = message(200).encode(Group::V6);
        assert!(full.len() <= Limits::LSD_DATAGRAM, "{}", full.len());
        assert_eq!(Message::decode(&full).unwrap().info_hashes.len(), Message::HASHES);
    }

    #[test]
    fn other_senders_styles_are_read() {
        let text =
            b"BT-SEARCH * HTTP/1.1\nhost: x\nINFOHASH:ABCDEFabcdef0123456789ABCDEFabcdef012345\nport:7\nx\n";
        let message = Message::decode(text).unwrap();
        assert_eq!((message.port, message.cookie), (7, None));
        assert_eq!(message.info_hashes[0].to_string(), "abcdefabcdef0123456789abcdefabcdef012345");
    }

    #[test]
    fn what_names_no_torrent_or_no_port_is_no_announce() {
        let hash = "Infohash: 0000000000000000000000000000000000000000\r\n";
        for text in [
            String::new(),
            format!("M-SEARCH * HTTP/1.1\r\nPort: 1\r\n{hash}"),
            format!("BT-SEARCH * HTTP/1.1\r\n{hash}"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\n{hash}"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\n{hash}"),
            "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: 00\r\n".to_owned(),
        ] {
            assert_eq!(Message::decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_datagram_cannot_name_endless_torrents() {
        let mut text = b"BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n".to_vec();
        for _ in 0..1_000 {
            text.extend_from_slice(b"Infohash: 0000000000000000000000000000000000000000\r\n");
        }
        assert_eq!(Message::decode(&text).unwrap().info_hashes.len(), Limits::LSD_HASHES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in any::<Vec<u8>>()) {
            let _ = Message::decode(&bytes);
            let _ = Message::decode(&[b"BT-SEARCH * \n".as_slice(), &bytes].concat());
        }

        #[test]
        fn what_is_written_is_read(port in 1u16.., count in 1u8..20, cookie in "[!-~]{1,64}") {
            let message = Message { port, cookie: Some(cookie.into_bytes()), ..message(count) };
            prop_assert_eq!(Message::decode(&message.encode(Group::V4)), Some(message));
        }
    }
}
