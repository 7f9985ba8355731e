use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A SHA-1 digest: a v1 info-hash or piece hash (BEP 3), 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha1Hash(pub [u8; 20]);

/// A SHA-256 digest: a v2 info-hash, merkle node or leaf (BEP 52), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hash(pub [u8; 32]);

/// What names a torrent: at least one of the two hashes of its info dictionary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InfoHashes {
    v1: Option<Sha1Hash>,
    v2: Option<Sha256Hash>,
}

impl InfoHashes {
    /// Both hashes, or whichever is known; `None` if neither is.
    pub fn new(v1: Option<Sha1Hash>, v2: Option<Sha256Hash>) -> Option<InfoHashes> {
        (v1.is_some() || v2.is_some()).then_some(InfoHashes { v1, v2 })
    }

    /// The SHA-1 info-hash, if the torrent has a v1 part.
    pub fn v1(&self) -> Option<Sha1Hash> {
        self.v1
    }

    /// The SHA-256 info-hash, if the torrent has a v2 part.
    pub fn v2(&self) -> Option<Sha256Hash> {
        self.v2
    }

    /// The 20 bytes a handshake, tracker or LSD message names the torrent by:
    /// the v1 hash where there is one, else the v2 hash truncated (BEP 52).
    pub fn wire(&self) -> Sha1Hash {
        self.v1.unwrap_or_else(|| self.v2.map_or(Sha1Hash([0; 20]), Sha256Hash::truncated))
    }

    /// Every 20-byte name this torrent answers to (one, or two when hybrid).
    pub fn wire_names(&self) -> impl Iterator<Item = Sha1Hash> {
        self.v1.into_iter().chain(self.v2.map(Sha256Hash::truncated))
    }

    /// Whether both name the same torrent: some hash is in both, and none differs.
    pub fn matches(&self, other: &InfoHashes) -> bool {
        fn agree<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<bool> {
            Some(a? == b?)
        }
        let verdicts = [agree(self.v1, other.v1), agree(self.v2, other.v2)];
        verdicts.contains(&Some(true)) && !verdicts.contains(&Some(false))
    }
}

impl Sha256Hash {
    /// The first 20 bytes, as the wire names a v2 torrent (BEP 52).
    pub fn truncated(self) -> Sha1Hash {
        let mut out = [0; 20];
        out.copy_from_slice(&self.0[..20]);
        Sha1Hash(out)
    }
}

macro_rules! hex_format {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $type {
            type Err = NotHex;

            fn from_str(text: &str) -> Result<$type, NotHex> {
                from_hex(text).map($type)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

hex_format!(Sha1Hash);
hex_format!(Sha256Hash);

/// The text is not as many hex digits as the hash has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("this is not a hash in hexadecimal")]
pub struct NotHex;

fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    let mut out = [0; N];
    if text.len() != 2 * N {
        return Err(NotHex);
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = hex_digit(pair[0]).ok_or(NotHex)? << 4 | hex_digit(pair[1]).ok_or(NotHex)?;
    }
    Ok(out)
}

/// The value of a hex digit, in either case.
pub(crate) fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

impl fmt::Display for InfoHashes {
    /// The v1 hash in hex where there is one, else the v2 hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v1, self.v2) {
            (Some(v1), _) => v1.fmt(f),
            (None, Some(v2)) => v2.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_at_full_length_only() {
        let hash = Sha1Hash(std::array::from_fn(|i| i as u8 * 13));
        let text = hash.to_string();
        assert_eq!(text.parse(), Ok(hash));
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace('0', "g"), &"é".repeat(20)] {
            assert_eq!(bad.parse::<Sha1Hash>(), Err(NotHex), "{bad}");
        }
    }

    #[test]
    fn two_names_match_only_without_contradiction() {
        let (a, b) = (Some(Sha1Hash([1; 20])), Some(Sha1Hash([2; 20])));
        let x = Some(Sha256Hash([3; 32]));
        let of = |v1, v2| InfoHashes::new(v1, v2).unwrap();
        assert!(of(a, x).matches(&of(a, None)));
        assert!(of(a, x).matches(&of(None, x)));
        assert!(!of(a, x).matches(&of(b, x)));
        assert!(!of(a, None).matches(&of(None, x)));
        assert_eq!(InfoHashes::new(None, None), None);
    }
}
