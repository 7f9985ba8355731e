//! The extension protocol (BEP 10) and what it carries here: metadata (BEP 9),
//! peer exchange (BEP 11), partial seeds (BEP 21) and `lt_donthave` (BEP 54).
//!
//! Reading is lenient where clients differ (a field of the wrong type counts as
//! absent, bytes after a value are ignored) and bounded everywhere. Each peer
//! numbers the extensions for itself: messages to us bear our [`ids`](OUR_IDS),
//! messages to a peer the ids of its handshake.
//!
//! Not here: encryption wishes (`e`), hole punching (BEP 55), and other
//! extensions; they are skipped.

mod handshake;
mod payload;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use starling_bencode::{Document, Limits};
use thiserror::Error;

use crate::Message;
pub use handshake::{ExtensionHandshake, ExtensionIds, MAX_CLIENT_LEN};
pub use payload::{DontHave, MAX_PEX_PEERS, MetadataMessage, PexFlags, PexMessage, PexPeer};

/// The id of every extension handshake (BEP 10).
pub const HANDSHAKE: u8 = 0;
/// Messages with this id to us are of BEP 9.
pub const UT_METADATA: u8 = 1;
/// Messages with this id to us are of BEP 11.
pub const UT_PEX: u8 = 2;
/// Messages with this id to us are of BEP 54.
pub const LT_DONTHAVE: u8 = 3;

/// What our handshake offers. A private torrent leaves `ut_pex` out (BEP 27).
pub const OUR_IDS: ExtensionIds =
    ExtensionIds { ut_metadata: Some(UT_METADATA), ut_pex: Some(UT_PEX), lt_donthave: Some(LT_DONTHAVE) };

/// Bytes of an extended message that are looked at; the largest honest one is the first
/// peer exchange of a client with thousands of peers.
const PAYLOAD_MAX: usize = 1 << 20;

/// A value of at most a few dozen entries is expected; more is refused.
const LIMITS: Limits = Limits { depth: 32, tokens: 2_000 };

/// An extended message to us.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // each is the type it holds
pub enum ExtensionMessage {
    Handshake(ExtensionHandshake),
    Metadata(MetadataMessage),
    Pex(PexMessage),
    DontHave(DontHave),
    /// An id that we did not offer, or a kind of message that we do not know: to be ignored.
    Unknown,
}

/// The peer sent an extended message that cannot be read. The stream is still
/// good: whoever has patience may ignore it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ExtensionError {
    /// More than 1 MiB.
    #[error("the peer sent an extended message that is too long")]
    TooLong,
    /// Not bencoded, or nested or split beyond reason.
    #[error("the peer sent an extended message that is not bencoded: {0}")]
    NotBencoded(#[from] starling_bencode::Error),
    /// Bencoded, but without what this kind must have.
    #[error("the peer sent an extended message without a valid `{0}`")]
    Missing(&'static str),
    /// BEP 54 wants four bytes.
    #[error("the peer sent an lt_donthave of a wrong length")]
    DontHaveLength,
}

/// Reads the payload of [`Message::Extended`] with id `id` as one of our extensions.
pub fn decode(id: u8, payload: &Bytes) -> Result<ExtensionMessage, ExtensionError> {
    Ok(match id {
        HANDSHAKE => ExtensionMessage::Handshake(ExtensionHandshake::decode(payload)?),
        UT_METADATA => match MetadataMessage::decode(payload)? {
            Some(message) => ExtensionMessage::Metadata(message),
            None => ExtensionMessage::Unknown,
        },
        UT_PEX => ExtensionMessage::Pex(PexMessage::decode(payload)?),
        LT_DONTHAVE => ExtensionMessage::DontHave(DontHave::decode(payload)?),
        _ => ExtensionMessage::Unknown,
    })
}

/// `payload` as a message to a peer that numbered this extension `id`.
fn extended(id: u8, payload: Vec<u8>) -> Message {
    Message::Extended { id, payload: Bytes::from(payload) }
}

/// The dictionary at the beginning of `payload` and the bytes it takes.
fn dictionary(payload: &[u8]) -> Result<(Document<'_>, usize), ExtensionError> {
    if payload.len() > PAYLOAD_MAX {
        return Err(ExtensionError::TooLong);
    }
    Ok(starling_bencode::decode_prefix(payload, LIMITS)?)
}
