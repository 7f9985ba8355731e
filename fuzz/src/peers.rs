//! What peers send, and what a run leaves for the next.

use bytes::Bytes;
use starling_disk::resume::{Identity, parse};
use starling_swarm::extension::{self as ext, ExtensionHandshake, ExtensionMessage, PexMessage};
use starling_swarm::wire::{self, Decoded, WireLimits};
use starling_swarm::{Handshake, Message};

/// A stream of messages: each that is understood is written as it came, and
/// asking for more bytes always asks for more than there are.
pub fn peer_message(data: &[u8]) {
    if let Ok(Some(handshake)) = Handshake::decode(data) {
        assert_eq!(handshake.encode()[..], data[..wire::HANDSHAKE_LEN]);
    }
    let limits = WireLimits::for_pieces(4096);
    let mut rest = data;
    while let Ok(decoded) = wire::decode(rest, &limits) {
        match decoded {
            Decoded::Incomplete { need } => return assert!(need > rest.len()),
            Decoded::PieceHeader { block, payload } => {
                assert_eq!(payload.len(), block.length as usize);
                return assert!(payload.start <= rest.len() && rest.len() < payload.end);
            }
            Decoded::Frame { message, consumed, payload } => {
                assert!(payload.end <= consumed && consumed <= rest.len());
                written_as_it_came(&message, &rest[..consumed]);
                rest = &rest[consumed..];
            }
        }
    }
}

fn written_as_it_came(message: &Message, frame: &[u8]) {
    if matches!(message, Message::Piece(_) | Message::Unknown(_)) {
        return; // their payloads are not part of the message
    }
    let mut out = Vec::new();
    wire::encode(message, &mut out);
    assert_eq!(out, frame);
    assert_eq!(wire::encoded_len(message), out.len());
}

/// The first byte is the extended message's id.
pub fn extension(data: &[u8]) {
    let Some((&id, payload)) = data.split_first() else { return };
    match ext::decode(id, &Bytes::copy_from_slice(payload)) {
        Ok(ExtensionMessage::Handshake(handshake)) => {
            assert_eq!(ExtensionHandshake::decode(&handshake.encode()), Ok(bounded(handshake)));
        }
        Ok(ExtensionMessage::Pex(pex)) => {
            assert!(pex.added.len() + pex.dropped.len() <= 4 * ext::MAX_PEX_PEERS);
            assert!(PexMessage::decode(&pex.encode()).is_ok());
        }
        _ => {}
    }
}

/// A size beyond what bencoding's usual 64 bits hold is written as the largest.
fn bounded(mut handshake: ExtensionHandshake) -> ExtensionHandshake {
    let most = i64::MAX.unsigned_abs();
    handshake.metadata_size = handshake.metadata_size.map(|size| size.min(most));
    handshake
}

/// Whatever a resume file holds, no piece beyond the torrent's is claimed.
pub fn resume(data: &[u8]) {
    let identity = Identity { id: [7; 32], pieces: 20, files: 3 };
    let Ok(resume) = parse(data, &identity) else { return };
    assert_eq!(resume.synced.len(), identity.pieces);
    assert!(resume.unsynced.iter().all(|piece| *piece < identity.pieces));
    assert!(resume.clean.into_iter().flatten().all(|(file, _)| file < identity.files));
    assert!(resume.layers.iter().all(|(file, _)| *file < identity.files));
}
