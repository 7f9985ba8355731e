//! What peers say to each other, as values.

use bytes::Bytes;
use starling_metainfo::{Sha1Hash, Sha256Hash};

/// A part of a piece: what `request`, `piece`, `cancel` and `reject` name (BEP 3, BEP 6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Block {
    /// Piece index.
    pub piece: u32,
    /// Bytes from the beginning of the piece.
    pub begin: u32,
    /// Bytes in the block.
    pub length: u32,
}

/// The first 68 bytes of a connection (BEP 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// Extension bits.
    pub reserved: Reserved,
    /// Which torrent: v1 info-hash, or v2 truncated.
    pub info_hash: Sha1Hash,
    /// The sender's peer id.
    pub peer_id: [u8; 20],
}

/// The eight reserved bytes of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// What this implementation speaks: extension protocol, fast extension, v2.
    pub const OURS: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04 | 0x10]);

    /// The same without v2: the bit is for torrents with a v2 part alone (BEP 52), and
    /// other clients hang up when a v1 torrent's handshake has it.
    pub const OURS_V1: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]);

    /// BEP 10.
    pub fn extension_protocol(self) -> bool {
        self.0[5] & 0x10 != 0
    }

    /// BEP 6.
    pub fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// BEP 52: may be upgraded to v2, or speaks it already.
    pub fn v2(self) -> bool {
        self.0[7] & 0x10 != 0
    }
}

/// Which nodes of a file's merkle tree a hash request is about (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HashRange {
    /// Root of the file's tree.
    pub pieces_root: Sha256Hash,
    /// 0 = leaves (16 KiB blocks).
    pub base_layer: u32,
    /// First node in that layer; a multiple of `length`.
    pub index: u32,
    /// How many nodes; a power of two, at least 2.
    pub length: u32,
    /// How many layers of uncles to add.
    pub proof_layers: u32,
}

/// One message of the peer protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the names are those of BEP 3, 5, 6, 10 and 52
pub enum Message {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    /// Bytes as on the wire; checked against the number of pieces by the core.
    Bitfield(Bytes),
    Request(Block),
    /// The header of a block; its bytes stay with the driver.
    Piece(Block),
    Cancel(Block),
    Port(u16),
    Suggest(u32),
    HaveAll,
    HaveNone,
    Reject(Block),
    AllowedFast(u32),
    /// BEP 10; id 0 is the extension handshake.
    Extended {
        id: u8,
        payload: Bytes,
    },
    HashRequest(HashRange),
    Hashes {
        range: HashRange,
        hashes: Vec<Sha256Hash>,
    },
    HashReject(HashRange),
    /// A message id we do not know; its payload is skipped.
    Unknown(u8),
}
