//! Hex, base32, percent and multihash: the small alphabets of a magnet link.

use crate::hash::hex_digit;
use crate::{Sha1Hash, Sha256Hash};

/// 40 hex digits or 32 base32 letters.
pub(super) fn sha1(text: &str) -> Option<Sha1Hash> {
    match text.len() {
        40 => text.parse().ok(),
        32 => base32(text).map(Sha1Hash),
        _ => None,
    }
}

/// A multihash of SHA-256 (0x12) with 32 bytes (0x20), in hex.
pub(super) fn multihash(text: &str) -> Option<Sha256Hash> {
    text.strip_prefix("1220")?.parse().ok()
}

/// Decimal digits and nothing else.
pub(super) fn decimal(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// RFC 4648 without padding, either case.
fn base32(text: &str) -> Option<[u8; 20]> {
    let mut out = [0; 20];
    for (bytes, letters) in out.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let mut word = 0u64;
        for letter in letters {
            let value = match letter.to_ascii_uppercase() {
                upper @ b'A'..=b'Z' => upper - b'A',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            word = word << 5 | u64::from(value);
        }
        bytes.copy_from_slice(&word.to_be_bytes()[3..]);
    }
    Some(out)
}

/// Undoes percent-encoding; what is then no UTF-8 becomes U+FFFD.
pub(super) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair =
            (bytes.get(at + 1).copied().and_then(hex_digit), bytes.get(at + 2).copied().and_then(hex_digit));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push(high << 4 | low);
                at += 2;
            }
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Percent-encodes all but RFC 3986's unreserved characters and those in `keep`.
pub(super) fn escape(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
