//! Percent-encoding and query strings.

/// Appends `bytes` to `out`; all but the unreserved characters of RFC 3986 escaped.
pub(super) fn escape(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The bytes that `text` stands for. A `%` without two hex digits stands for itself.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = if byte == b'%' { hex_pair(tail) } else { None };
        (rest, _) = match escaped {
            Some(value) => (&tail[2..], out.push(value)),
            None => (tail, out.push(byte)),
        };
    }
    out
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Keys and values of a query string as they stand, still escaped.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stray_percent_stands_for_itself() {
        assert_eq!(unescape("%41%4a%4G%"), b"AJ%4G%");
    }

    proptest! {
        #[test]
        fn escaping_is_undone(bytes in any::<Vec<u8>>()) {
            let mut text = String::new();
            escape(&bytes, &mut text);
            prop_assert_eq!(unescape(&text), bytes);
        }
    }
}
