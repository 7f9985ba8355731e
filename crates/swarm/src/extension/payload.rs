use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use starling_bencode::Node;

use super::{ExtensionError, dictionary, extended};
use crate::Message;

/// A message of metadata exchange (BEP 9). Pieces are of 16 KiB, but for the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataMessage {
    /// Send me this piece.
    Request {
        /// Which.
        piece: u32,
    },
    /// Here it is.
    Data {
        /// Which.
        piece: u32,
        /// Bytes of the whole info dictionary, as the sender claims.
        total_size: Option<u64>,
        /// The piece.
        bytes: Bytes,
    },
    /// I do not have or do not give it.
    Reject {
        /// Which.
        piece: u32,
    },
}

impl MetadataMessage {
    /// The message to a peer that numbered `ut_metadata` as `id`.
    pub fn message(&self, id: u8) -> Message {
        extended(id, self.encode())
    }

    /// The payload: a dictionary, and after it the piece.
    pub fn encode(&self) -> Vec<u8> {
        let head = |kind: i64, piece: u32, total: Option<u64>| {
            starling_bencode::encode_dict(|d| {
                d.int("msg_type", kind);
                d.int("piece", i64::from(piece));
                total
                    .into_iter()
                    .for_each(|size| d.int("total_size", i64::try_from(size).unwrap_or(i64::MAX)));
            })
        };
        match self {
            MetadataMessage::Request { piece } => head(0, *piece, None),
            MetadataMessage::Data { piece, total_size, bytes } => {
                let mut out = head(1, *piece, *total_size);
                out.extend_from_slice(bytes);
                out
            }
            MetadataMessage::Reject { piece } => head(2, *piece, None),
        }
    }

    /// Reads a payload; the piece is shared with it. `None` for a `msg_type` that BEP 9
    /// does not know and wants ignored.
    pub fn decode(payload: &Bytes) -> Result<Option<MetadataMessage>, ExtensionError> {
        let (document, used) = dictionary(payload)?;
        let number = |key: &str| document.root().get(key).and_then(Node::as_u64);
        let kind = number("msg_type").ok_or(ExtensionError::Missing("msg_type"))?;
        let piece = number("piece").and_then(|piece| u32::try_from(piece).ok());
        let piece = piece.ok_or(ExtensionError::Missing("piece"))?;
        Ok(match kind {
            0 => Some(MetadataMessage::Request { piece }),
            1 => Some(MetadataMessage::Data {
                piece,
                total_size: number("total_size"),
                bytes: payload.slice(used..),
            }),
            2 => Some(MetadataMessage::Reject { piece }),
            _ => None,
        })
    }
}

/// Peers of each kind (added, dropped) that are read from one message; the rest is
/// left out. BEP 11 allows 50, and more in the first message.
pub const MAX_PEX_PEERS: usize = 200;

/// What a peer is like, as another tells (BEP 11 `added.f`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers encryption.
    pub const ENCRYPTION: PexFlags = PexFlags(0x01);
    /// It is a seed, or uploads only.
    pub const SEED: PexFlags = PexFlags(0x02);
    /// It speaks uTP.
    pub const UTP: PexFlags = PexFlags(0x04);
    /// It speaks `ut_holepunch`.
    pub const HOLEPUNCH: PexFlags = PexFlags(0x08);
    /// The sender connected to it: it can be reached.
    pub const REACHABLE: PexFlags = PexFlags(0x10);

    /// Whether all flags of `other` are set.
    pub fn has(self, other: PexFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for PexFlags {
    type Output = PexFlags;
    fn bitor(self, other: PexFlags) -> PexFlags {
        PexFlags(self.0 | other.0)
    }
}

/// A peer that the sender is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PexPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it is like.
    pub flags: PexFlags,
}

/// A message of peer exchange (BEP 11), IPv4 and IPv6 together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PexMessage {
    /// Connected since the last message.
    pub added: Vec<PexPeer>,
    /// Gone since the last message.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// Whether it says nothing, and so must not be sent.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }

    /// The message to a peer that numbered `ut_pex` as `id`.
    pub fn message(&self, id: u8) -> Message {
        extended(id, self.encode())
    }

    /// The payload, bencoded. The bound of 50 is the caller's to keep.
    pub fn encode(&self) -> Vec<u8> {
        let flags = |v4: bool| -> Vec<u8> {
            self.added.iter().filter(|p| p.addr.is_ipv4() == v4).map(|p| p.flags.0).collect()
        };
        let added = |v4| compact(self.added.iter().map(|p| p.addr), v4);
        let dropped = |v4| compact(self.dropped.iter().copied(), v4);
        starling_bencode::encode_dict(|d| {
            for (v4, names) in
                [(true, ["added", "added.f", "dropped"]), (false, ["added6", "added6.f", "dropped6"])]
            {
                for (name, value) in names.into_iter().zip([added(v4), flags(v4), dropped(v4)]) {
                    // Some clients look for `added` even when it is empty.
                    if name == "added" || !value.is_empty() {
                        d.bytes(name, value);
                    }
                }
            }
        })
    }

    /// Reads a payload; at most [`MAX_PEX_PEERS`] added and as many dropped are kept.
    /// Addresses are as sent: [`crate::pex`] judges them.
    pub fn decode(payload: &[u8]) -> Result<PexMessage, ExtensionError> {
        let (document, _) = dictionary(payload)?;
        let bytes = |key: &str| document.root().get(key).and_then(Node::as_bytes).unwrap_or_default();
        let added = |addrs: Vec<SocketAddr>, flags: &[u8]| -> Vec<PexPeer> {
            let flags = flags.iter().copied().chain(std::iter::repeat(0)).map(PexFlags);
            addrs.into_iter().zip(flags).map(|(addr, flags)| PexPeer { addr, flags }).collect()
        };
        let mut message = PexMessage {
            added: added(addrs_v4(bytes("added")), bytes("added.f")),
            dropped: addrs_v4(bytes("dropped")),
        };
        message.added.extend(added(addrs_v6(bytes("added6")), bytes("added6.f")));
        message.dropped.extend(addrs_v6(bytes("dropped6")));
        message.added.truncate(MAX_PEX_PEERS);
        message.dropped.truncate(MAX_PEX_PEERS);
        Ok(message)
    }
}

/// The addresses of one family in compact form (BEP 23; BEP 7 for IPv6).
fn compact(addrs: impl Iterator<Item = SocketAddr>, v4: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for addr in addrs.filter(|addr| addr.is_ipv4() == v4) {
        match addr {
            SocketAddr::V4(addr) => out.extend_from_slice(&addr.ip().octets()),
            SocketAddr::V6(addr) => out.extend_from_slice(&addr.ip().octets()),
        }
        out.extend_from_slice(&addr.port().to_be_bytes());
    }
    out
}

fn addrs_v4(bytes: &[u8]) -> Vec<SocketAddr> {
    let of = |&[a, b, c, d, high, low]: &[u8; 6]| {
        SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
    };
    bytes.as_chunks().0.iter().take(MAX_PEX_PEERS).map(of).collect()
}

fn addrs_v6(bytes: &[u8]) -> Vec<SocketAddr> {
    let of = |entry: &[u8; 18]| {
        let (ip, port) = entry.split_first_chunk::<16>()?;
        Some(SocketAddr::from((Ipv6Addr::from(*ip), u16::from_be_bytes(*port.first_chunk()?))))
    };
    bytes.as_chunks().0.iter().take(MAX_PEX_PEERS).filter_map(of).collect()
}

/// The sender no longer has this piece (BEP 54).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DontHave {
    /// Which.
    pub piece: u32,
}

impl DontHave {
    /// The message to a peer that numbered `lt_donthave` as `id`.
    pub fn message(self, id: u8) -> Message {
        extended(id, self.piece.to_be_bytes().to_vec())
    }

    /// Reads a payload of exactly four bytes.
    pub fn decode(payload: &[u8]) -> Result<DontHave, ExtensionError> {
        let index = payload.try_into().map_err(|_| ExtensionError::DontHaveLength)?;
        Ok(DontHave { piece: u32::from_be_bytes(index) })
    }
}
