//! That uTP (BEP 29) is not spoken here, said at once.
//!
//! Clients of today try uTP first, at the port at which a peer is known to listen, and TCP when
//! nothing comes back for some seconds (libtorrent three). A reset in answer to their first
//! packet sends them to TCP one round trip later. It is no longer than what it answers, so
//! that nobody can use it to send more to a third party than they send themselves.

/// Bytes of a header without extensions.
const HEADER: usize = 20;
/// The version, and above it the type of a packet.
const SYN: u8 = 4 << 4 | 1;
const RESET: u8 = 3 << 4 | 1;

/// The answer to a datagram that asks for a connection; `None` to all others.
pub fn refusal(datagram: &[u8]) -> Option<[u8; HEADER]> {
    let (header, _) = datagram.split_first_chunk::<HEADER>()?;
    let [SYN, _, id_high, id_low, .., seq_high, seq_low, _, _] = *header else { return None };
    let mut reset = [0; HEADER];
    reset[0] = RESET;
    // The side that connects receives by the id that it sends.
    [reset[2], reset[3]] = [id_high, id_low];
    // What it acknowledges is what came.
    [reset[18], reset[19]] = [seq_high, seq_low];
    Some(reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_connect_is_reset_and_nothing_else_is() {
        let mut syn = [0; 26];
        (syn[0], syn[2], syn[3]) = (0x41, 0xab, 0xcd);
        (syn[16], syn[17]) = (0x12, 0x34);
        for length in [20, 26] {
            let reset = refusal(&syn[..length]).unwrap();
            assert_eq!(reset[..4], [0x31, 0, 0xab, 0xcd]);
            assert_eq!(reset[16..], [0, 0, 0x12, 0x34]);
        }
        assert_eq!(refusal(&syn[..19]), None);
        for first in (0..=255).filter(|first| *first != 0x41) {
            syn[0] = first;
            assert_eq!(refusal(&syn), None, "not even to a reset: two of us would go on for ever");
        }
    }
}
