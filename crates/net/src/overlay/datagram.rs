//! A datagram: a header, and a message of the overlay.
//!
//! | bytes | |
//! |---|---|
//! | 8 | tag: the start of the SHA-1 of this format's version, the overlay and the network |
//! | 1 | the sender's number among the virtual nodes at its address |
//! | 1 | the receiver's |
//! | 4 | stamp: the sender's time in µs, modulo 2^32 |
//! | 1 or 9 | 0; or 1, the last stamp that came from there, and how many µs ago it came |
//!
//! The stamps tell both ends the round trip without a datagram of their own, as TCP's do
//! (RFC 7323).

use starling_overlay::Id;
use starling_overlay::wire::{Malformed, Reader, Wire};

/// Longest datagram over an Ethernet (1,500 less 28 of IPv4 and UDP) that is not cut into
/// fragments. Nearly everything is shorter.
pub const UNFRAGMENTED_MAX: usize = 1472;

/// Longest datagram that is sent or understood. It is above [`UNFRAGMENTED_MAX`] because
/// an answer to a search names up to 128 providers in one message, 60 bytes and more
/// each; how often that happens is counted.
pub const DATAGRAM_MAX: usize = 16 << 10;

/// What a datagram must begin with.
pub(super) fn tag(overlay: &str, network: &str) -> u64 {
    Id::hash(format!("starling overlay 1\0{overlay}\0{network}").as_bytes()).high()
}

/// What stands before the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub tag: u64,
    pub from: u8,
    pub to: u8,
    pub stamp: u32,
    pub echo: Option<Echo>,
}

/// A stamp that goes back to who set it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Echo {
    pub stamp: u32,
    /// For how long it was kept, in µs.
    pub held: u32,
}

impl Header {
    /// The datagram of a message.
    pub fn seal(&self, message: &impl Wire) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        self.tag.encode(&mut bytes);
        self.from.encode(&mut bytes);
        self.to.encode(&mut bytes);
        self.stamp.encode(&mut bytes);
        self.echo.is_some().encode(&mut bytes);
        if let Some(echo) = self.echo {
            echo.stamp.encode(&mut bytes);
            echo.held.encode(&mut bytes);
        }
        message.encode(&mut bytes);
        bytes
    }

    /// The header and the message of a datagram.
    pub fn open<M: Wire>(datagram: &[u8]) -> Result<(Header, M), Malformed> {
        if datagram.len() > DATAGRAM_MAX {
            return Err(Malformed::Long(datagram.len() - DATAGRAM_MAX));
        }
        let mut input = Reader::new(datagram);
        let (tag, from, to) = (u64::decode(&mut input)?, u8::decode(&mut input)?, u8::decode(&mut input)?);
        let stamp = u32::decode(&mut input)?;
        let echo = match bool::decode(&mut input)? {
            true => Some(Echo { stamp: u32::decode(&mut input)?, held: u32::decode(&mut input)? }),
            false => None,
        };
        let message = M::from_wire(input.take(input.left())?)?;
        Ok((Header { tag, from, to, stamp, echo }, message))
    }

    /// The tag of a datagram, of whatever follows.
    pub fn tag_of(datagram: &[u8]) -> Option<u64> {
        u64::decode(&mut Reader::new(datagram)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_back_and_nothing_else_does() {
        let echo = Some(Echo { stamp: 4, held: 5 });
        for header in [None, echo].map(|echo| Header { tag: 1, from: 2, to: 3, stamp: 9, echo }) {
            let bytes = header.seal(&7u32);
            assert_eq!(Header::open::<u32>(&bytes), Ok((header, 7)));
            for cut in 0..bytes.len() {
                assert!(Header::open::<u32>(&bytes[..cut]).is_err(), "{cut}");
            }
            assert_eq!(Header::open::<u16>(&bytes), Err(Malformed::Long(2)));
        }
        assert!(Header::open::<u32>(&[0; DATAGRAM_MAX + 1]).is_err());
        assert_ne!(tag("chord", "a"), tag("chord", "b"));
    }
}
