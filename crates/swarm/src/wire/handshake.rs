use starling_metainfo::Sha1Hash;

use super::WireError;
use crate::{Handshake, Reserved};

/// Bytes in a handshake.
pub const HANDSHAKE_LEN: usize = 68;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

impl Handshake {
    /// The 68 bytes that open a connection.
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved.0);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id);
        out
    }

    /// Reads a handshake from the beginning of `bytes`; `None` while fewer than
    /// [`HANDSHAKE_LEN`] are there. The first wrong byte is an error, however
    /// few there are, so that a stranger of another protocol is not waited for.
    pub fn decode(bytes: &[u8]) -> Result<Option<Handshake>, WireError> {
        let seen = bytes.len().min(PROTOCOL.len());
        if bytes[..seen] != PROTOCOL[..seen] {
            return Err(WireError::NotBitTorrent);
        }
        let rest = bytes.get(PROTOCOL.len()..).unwrap_or_default();
        let Some((reserved, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let Some((info_hash, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let Some((peer_id, _)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some(Handshake {
            reserved: Reserved(*reserved),
            info_hash: Sha1Hash(*info_hash),
            peer_id: *peer_id,
        }))
    }

    /// The info-hash alone, once the first 48 bytes are there: who accepts a connection
    /// may answer (or hang up) before the peer id comes (BEP 3).
    pub fn peek_info_hash(bytes: &[u8]) -> Option<Sha1Hash> {
        Some(Sha1Hash(*bytes.get(28..)?.first_chunk()?))
    }
}
