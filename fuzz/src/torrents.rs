//! What describes a torrent: bencoding, torrent files, magnet links.

use bytes::Bytes;
use starling_bencode::{Kind, Limits, ListWriter, Node, decode, decode_prefix, encode_list};
use starling_metainfo::{Info, Magnet, Torrent};

/// Canonical bytes come out of the writer as they went in.
pub fn bencode(data: &[u8]) {
    if let Ok((_, used)) = decode_prefix(data, Limits::MESSAGE) {
        assert!(used <= data.len());
        assert!(decode(&data[..used], Limits::MESSAGE).is_ok());
    }
    let Ok(document) = decode(data, Limits::MESSAGE) else { return };
    let again = encode_list(|list| copy(document.root(), list));
    let value = &again[1..again.len() - 1];
    if document.is_canonical() {
        assert_eq!(value, data);
    }
    assert!(decode(value, Limits::MESSAGE).is_ok());
}

/// Writes a value anew, dictionaries in whatever order and form the writer gives them.
fn copy(node: Node<'_, '_>, out: &mut ListWriter<'_>) {
    match node.kind() {
        Kind::Int => match node.as_int() {
            Some(value) => out.int(value),
            None => out.raw(node.raw()), // beyond 64 bits
        },
        Kind::Bytes => out.bytes(node.as_bytes().unwrap_or_default()),
        Kind::List => out.list(|list| node.list().for_each(|item| copy(item, list))),
        Kind::Dict => out.raw(copy_dict(node)),
    }
}

fn copy_dict(node: Node<'_, '_>) -> Vec<u8> {
    starling_bencode::encode_dict(|dict| {
        let mut last = None;
        let mut entries: Vec<_> = node.dict().collect();
        entries.sort_by_key(|(key, _)| *key);
        for (key, value) in entries {
            if last.replace(key) != Some(key) {
                let one = encode_list(|list| copy(value, list));
                dict.raw(key, &one[1..one.len() - 1]);
            }
        }
    })
}

/// A torrent that is let in has a sound layout, and its info dictionary reads alone.
pub fn metainfo(data: &[u8]) {
    let _ = Info::parse(Bytes::copy_from_slice(data));
    let Ok(torrent) = Torrent::parse(data) else { return };
    let info = &torrent.info;
    assert_eq!(Info::parse(info.bytes.clone()).as_ref(), Ok(&**info));
    let layout = &info.layout;
    let mut end = 0;
    for file in layout.files() {
        assert!(file.offset >= end, "files overlap");
        end = file.offset + file.length;
        assert!(file.padding || !file.path.is_empty());
        assert!(file.path.iter().all(|part| is_safe(part)), "{:?}", file.path);
    }
    assert!(is_safe(&info.name));
    assert!(end <= u64::from(layout.pieces()) * u64::from(layout.piece_length()));
    let link = Magnet::of(&torrent).to_string();
    assert!(link.is_ascii());
}

/// No separator, no way up, nothing that ends a C string.
fn is_safe(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '\0'])
}

/// A link that is understood says the same when written and read again.
pub fn magnet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = text.parse::<Magnet>();
    if let Some(Ok(magnet)) = Magnet::from_source(text) {
        assert_eq!(magnet.to_string().parse().as_ref(), Ok(&magnet));
    }
}
