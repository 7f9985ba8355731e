//! A datagram: a header, and a message of the overlay.
//!
//! | bytes | |
//! |---|---|
//! | 8 | tag: the start of the SHA-1 of this format's version, the overlay and the network |
//! | 1 | the sender's number among the virtual nodes at its address |
//! | 1 | the receiver's |
//! | 4 | stamp: the sender's time in µs, modulo 2^32 |
//! | 1 | the sum of: 1 echo, 2 cookie, 4 proof (they follow), 8 no message, 16 return the cookie at once |
//! | 8 | echo: the last stamp that came from there, and how many µs ago it came |
//! | 8 | cookie: what the receiver shall send back with its next datagram |
//! | 8 | proof: the last cookie that came from there |
//!
//! The stamps tell both ends the round trip without a datagram of their own, as TCP's do
//! (RFC 7323). Cookies prove addresses ([`super::proofs`]): one rides on whatever is sent
//! to an address that is not proven, or not for long any more, and comes back with
//! whatever is sent next. Where a message has to wait for the proof, a *challenge* goes, a
//! cookie without a message, and the proof is sent at once, without a message too unless
//! one has waited for the challenge.

use starling_overlay::Id;
use starling_overlay::wire::{MESSAGE_MAX, Malformed, Reader, Wire, Writer};

/// Longest datagram over an Ethernet (1,500 less 28 of IPv4 and UDP) that is not cut into
/// fragments. Nearly everything is shorter.
pub const UNFRAGMENTED_MAX: usize = 1472;

/// Longest datagram that is sent or understood: that of the longest message. It is above
/// [`UNFRAGMENTED_MAX`]; how often that happens is counted.
pub const DATAGRAM_MAX: usize = HEADER_MAX + MESSAGE_MAX;

/// Bytes of the longest header.
pub(super) const HEADER_MAX: usize = 15 + 8 + 8 + 8;

const ECHO: u8 = 1;
const COOKIE: u8 = 2;
const PROOF: u8 = 4;
const BARE: u8 = 8;
const URGENT: u8 = 16;

/// What a datagram must begin with.
pub(super) fn tag(overlay: &str, network: &str) -> u64 {
    Id::hash(format!("starling overlay 2\0{overlay}\0{network}").as_bytes()).high()
}

/// What stands before the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub tag: u64,
    pub from: u8,
    pub to: u8,
    pub stamp: u32,
    pub echo: Option<Echo>,
    /// What the receiver shall return.
    pub cookie: Option<u64>,
    /// What the receiver wanted returned.
    pub proof: Option<u64>,
    /// Whether the cookie is to be returned at once; only where there is no message.
    pub urgent: bool,
}

/// A stamp that goes back to who set it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Echo {
    pub stamp: u32,
    /// For how long it was kept, in µs.
    pub held: u32,
}

impl Header {
    /// The datagram of a message, or of none.
    pub fn seal(&self, message: Option<&[u8]>) -> Vec<u8> {
        let flag = |there: bool, flag: u8| u8::from(there) * flag;
        let mut bytes = Vec::with_capacity(HEADER_MAX + message.map_or(0, <[u8]>::len));
        self.tag.encode(&mut bytes);
        self.from.encode(&mut bytes);
        self.to.encode(&mut bytes);
        self.stamp.encode(&mut bytes);
        bytes.put(&[flag(self.echo.is_some(), ECHO)
            | flag(self.cookie.is_some(), COOKIE)
            | flag(self.proof.is_some(), PROOF)
            | flag(message.is_none(), BARE)
            | flag(self.urgent, URGENT)]);
        if let Some(echo) = self.echo {
            echo.stamp.encode(&mut bytes);
            echo.held.encode(&mut bytes);
        }
        self.cookie.iter().chain(&self.proof).for_each(|number| number.encode(&mut bytes));
        bytes.put(message.unwrap_or_default());
        bytes
    }

    /// The header of a datagram, and its message if it has one.
    pub fn open<M: Wire>(datagram: &[u8]) -> Result<(Header, Option<M>), Malformed> {
        if datagram.len() > DATAGRAM_MAX {
            return Err(Malformed::Long(datagram.len() - DATAGRAM_MAX));
        }
        let mut input = Reader::new(datagram);
        let (tag, from, to) = (u64::decode(&mut input)?, u8::decode(&mut input)?, u8::decode(&mut input)?);
        let (stamp, flags) = (u32::decode(&mut input)?, u8::decode(&mut input)?);
        let (bare, urgent) = (flags & BARE != 0, flags & URGENT != 0);
        let says_nothing = bare && flags & (COOKIE | PROOF) == 0;
        let wants_nothing = urgent && flags & (COOKIE | BARE) != COOKIE | BARE;
        if says_nothing || wants_nothing || flags > ECHO | COOKIE | PROOF | BARE | URGENT {
            return Err(Malformed::Unknown(flags.into()));
        }
        let echo = match flags & ECHO != 0 {
            true => Some(Echo { stamp: u32::decode(&mut input)?, held: u32::decode(&mut input)? }),
            false => None,
        };
        let mut number = |flag| (flags & flag != 0).then(|| u64::decode(&mut input)).transpose();
        let (cookie, proof) = (number(COOKIE)?, number(PROOF)?);
        let message = match bare {
            true if input.left() > 0 => return Err(Malformed::Long(input.left())),
            true => None,
            false => Some(M::from_wire(input.take(input.left())?)?),
        };
        Ok((Header { tag, from, to, stamp, echo, cookie, proof, urgent }, message))
    }

    /// The tag of a datagram, of whatever follows.
    pub fn tag_of(datagram: &[u8]) -> Option<u64> {
        u64::decode(&mut Reader::new(datagram)).ok()
    }
}

/// What a stranger's datagram says, written again; an error if it says nothing. For who looks for
/// bytes that are misunderstood: what comes back must be what came.
pub fn rewritten(datagram: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (header, message) = Header::open::<Rest>(datagram)?;
    Ok(header.seal(message.as_ref().map(|rest| &rest.0[..])))
}

/// A message of which nothing is known but its bytes.
struct Rest(Vec<u8>);

impl Wire for Rest {
    fn encode(&self, output: &mut impl Writer) {
        output.put(&self.0);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Rest, Malformed> {
        Ok(Rest(input.take(input.left())?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Headers with each choice of what may be in them.
    fn headers() -> impl Iterator<Item = Header> {
        (0..8).map(|which: u8| Header {
            tag: 1,
            from: 2,
            to: 3,
            stamp: 9,
            echo: (which & 1 != 0).then_some(Echo { stamp: 4, held: 5 }),
            cookie: (which & 2 != 0).then_some(6),
            proof: (which & 4 != 0).then_some(7),
            urgent: false,
        })
    }

    #[test]
    fn a_datagram_comes_back_and_nothing_else_does() {
        for header in headers() {
            let bytes = header.seal(Some(&[0, 0, 0, 7]));
            assert_eq!(Header::open(&bytes), Ok((header, Some(7u32))));
            for cut in 0..bytes.len() {
                assert!(Header::open::<u32>(&bytes[..cut]).is_err(), "{cut}");
            }
            assert_eq!(Header::open::<u16>(&bytes), Err(Malformed::Long(2)));
        }
        assert!(Header::open::<u32>(&[0; DATAGRAM_MAX + 1]).is_err());
        assert_ne!(tag("chord", "a"), tag("chord", "b"));
    }

    #[test]
    fn a_datagram_without_a_message_has_a_cookie_or_a_proof_and_no_more() {
        for header in headers().chain(headers().map(|header| Header { urgent: true, ..header })) {
            let bytes = header.seal(None);
            assert!(bytes.len() <= HEADER_MAX);
            let something = header.cookie.is_some() || header.proof.is_some() && !header.urgent;
            assert_eq!(Header::open::<u32>(&bytes).ok(), something.then_some((header, None)));
            assert!(Header::open::<u32>(&[&bytes[..], &[0]].concat()).is_err());
            assert_eq!(Header::open::<u32>(&header.seal(Some(&[0; 4]))).is_err(), header.urgent);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_datagram_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80), flags in 0u8..40) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.get_mut(14) {
                *byte = flags;
            }
            if let Ok((header, message)) = Header::open::<u32>(&bytes) {
                let message = message.map(|message| message.to_wire());
                prop_assert_eq!(header.seal(message.as_deref()), bytes);
            }
        }
    }
}
