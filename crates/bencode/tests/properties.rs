//! Properties of decoding and encoding that hold for any input.

#![allow(clippy::unwrap_used)] // in helpers, which clippy takes for other than tests

use proptest::prelude::*;
use starling_bencode::{
    DictWriter, ErrorKind, Kind, Limits, ListWriter, Node, decode, decode_prefix, encode_dict, encode_list,
};

/// A value as a test builds it; never made from a stranger's bytes.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Dict(Vec<(Vec<u8>, Value)>),
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let key = prop::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|m| Value::Dict(m.into_iter().collect())),
        ]
    })
}

fn write_item(l: &mut ListWriter<'_>, value: &Value) {
    match value {
        Value::Int(n) => l.int(*n),
        Value::Bytes(b) => l.bytes(b),
        Value::List(items) => l.list(|l| items.iter().for_each(|v| write_item(l, v))),
        Value::Dict(entries) => l.dict(|d| entries.iter().rev().for_each(|(k, v)| write_entry(d, k, v))),
    }
}

fn write_entry(d: &mut DictWriter<'_>, key: &[u8], value: &Value) {
    match value {
        Value::Int(n) => d.int(key, *n),
        Value::Bytes(b) => d.bytes(key, b),
        Value::List(items) => d.list(key, |l| items.iter().for_each(|v| write_item(l, v))),
        Value::Dict(entries) => d.dict(key, |d| entries.iter().rev().for_each(|(k, v)| write_entry(d, k, v))),
    }
}

fn read(node: Node<'_, '_>) -> Value {
    match node.kind() {
        Kind::Int => Value::Int(node.as_int().unwrap()),
        Kind::Bytes => Value::Bytes(node.as_bytes().unwrap().to_vec()),
        Kind::List => Value::List(node.list().map(read).collect()),
        Kind::Dict => Value::Dict(node.dict().map(|(k, v)| (k.to_vec(), read(v))).collect()),
    }
}

/// Bytes that look enough like bencoding to get deep into the decoder.
fn nearly_bencoded() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"dlie0123456789:-ab".to_vec()), 0..60)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_canonical(value in values()) {
        let bytes = encode_list(|l| write_item(l, &value));
        let document = decode(&bytes, Limits::default()).unwrap();
        prop_assert!(document.is_canonical());
        let item = document.root().list().next().unwrap();
        prop_assert_eq!(&read(item), &value);
        prop_assert_eq!(item.raw(), &bytes[1..bytes.len() - 1]);
    }

    #[test]
    fn canonical_bytes_are_the_only_encoding(bytes in nearly_bencoded()) {
        if let Ok(document) = decode(&bytes, Limits::default()) {
            let value = read(document.root());
            let again = encode_list(|l| write_item(l, &value));
            prop_assert_eq!(document.is_canonical(), again[1..again.len() - 1] == bytes[..]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop_oneof![nearly_bencoded(), prop::collection::vec(any::<u8>(), 0..60)]) {
        match decode_prefix(&bytes, Limits { depth: 5, tokens: 20 }) {
            Ok((document, used)) => {
                prop_assert_eq!(document.root().raw(), &bytes[..used]);
                let shown = format!("{document:?}");
                prop_assert!(!shown.is_empty());
            }
            Err(error) => prop_assert!(error.offset <= bytes.len()),
        }
    }
}

#[test]
fn numbers_have_one_form() {
    for good in ["i0e", "i-1e", "i10e", "0:", "10:0123456789"] {
        assert!(decode(good.as_bytes(), Limits::default()).is_ok(), "{good}");
    }
    for bad in ["i-0e", "i03e", "i-03e", "ie", "i-e", "i1.5e", "i 1e", "i+1e", "01:a", "1a"] {
        let error = decode(bad.as_bytes(), Limits::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadNumber, "{bad}");
    }
    let big = decode(b"i18446744073709551615e", Limits::default()).unwrap();
    assert_eq!((big.root().as_int(), big.root().as_u64()), (None, Some(u64::MAX)));
    let huge = decode(b"i99999999999999999999999999e", Limits::default()).unwrap();
    assert_eq!((huge.root().as_int(), huge.root().as_u64()), (None, None));
}

#[test]
fn errors_say_where_and_what() {
    let cases: [(&[u8], usize, ErrorKind); 12] = [
        (b"", 0, ErrorKind::UnexpectedEnd),
        (b"x", 0, ErrorKind::UnexpectedByte),
        (b"e", 0, ErrorKind::UnexpectedByte),
        (b"l", 1, ErrorKind::UnexpectedEnd),
        (b"i12", 3, ErrorKind::UnexpectedEnd),
        (b"5", 1, ErrorKind::UnexpectedEnd),
        (b"l5:abce", 1, ErrorKind::StringTooLong),
        (b"99999999999999999999999:", 0, ErrorKind::StringTooLong),
        (b"di1e1:ae", 1, ErrorKind::KeyNotString),
        (b"dle1:ae", 1, ErrorKind::KeyNotString),
        (b"d1:ae", 4, ErrorKind::KeyWithoutValue),
        (b"i1ei2e", 3, ErrorKind::TrailingBytes),
    ];
    for (input, offset, kind) in cases {
        let error = decode(input, Limits::default()).unwrap_err();
        assert_eq!((error.offset, error.kind), (offset, kind), "{}", input.escape_ascii());
    }
}

#[test]
fn depth_and_tokens_are_bounded() {
    let nested = |n: usize| [vec![b'l'; n], vec![b'e'; n]].concat();
    assert!(decode(&nested(100), Limits::default()).is_ok());
    let deep = decode(&nested(101), Limits::default()).unwrap_err();
    assert_eq!((deep.kind, deep.offset), (ErrorKind::TooDeep, 100));
    let bomb = decode(&vec![b'd'; 1 << 20], Limits::default()).unwrap_err();
    assert_eq!(bomb.kind, ErrorKind::KeyNotString);
    let few = Limits { depth: 2, tokens: 3 };
    assert!(decode(b"l0:0:e", few).is_ok());
    assert_eq!(decode(b"l0:0:0:e", few).unwrap_err().kind, ErrorKind::TooManyTokens);
}

#[test]
fn a_depth_that_no_stack_survives_is_no_trouble() {
    let n = 3_000_000;
    let input = [vec![b'l'; n], vec![b'e'; n]].concat();
    let document = decode(&input, Limits { depth: usize::MAX, tokens: usize::MAX }).unwrap();
    assert_eq!(document.root().raw().len(), 2 * n);
    assert!(format!("{document:?}").len() < 300);
}

#[test]
fn unordered_and_repeated_keys_are_told() {
    let swapped = decode(b"d1:bi1e1:ai2ee", Limits::default()).unwrap();
    assert!(!swapped.is_canonical());
    assert_eq!(swapped.root().get("a").unwrap().as_int(), Some(2));
    let twice = decode(b"ld1:ai1e1:ai2eee", Limits::default()).unwrap();
    assert!(!twice.is_canonical());
    let dict = twice.root().list().next().unwrap();
    assert_eq!(dict.get("a").unwrap().as_int(), Some(1));
    assert!(decode(b"d1:ad1:zi1ee1:bi1ee", Limits::default()).unwrap().is_canonical());
}

#[test]
fn trailing_bytes_are_left_to_the_caller_of_prefix() {
    let (document, used) = decode_prefix(b"d8:msg_typei1ee\x00data", Limits::default()).unwrap();
    assert_eq!(document.root().get("msg_type").unwrap().as_int(), Some(1));
    assert_eq!(used, 15);
}

#[test]
fn a_node_of_another_kind_yields_nothing() {
    let bytes = encode_dict(|d| d.bytes("s", [0xff, 0xfe]));
    let document = decode(&bytes, Limits::default()).unwrap();
    let s = document.root().get("s").unwrap();
    assert_eq!((s.as_int(), s.as_str(), s.list().count(), s.dict().count()), (None, None, 0, 0));
    assert!(s.get("x").is_none() && document.root().as_bytes().is_none());
    let (content, offset) = (s.as_bytes().unwrap(), s.offset());
    assert_eq!((content, &bytes[offset..offset + 2]), (&[0xff, 0xfe][..], &b"2:"[..]));
}
