use std::fmt;

use crate::decode::{Document, Token};

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An integer of any size.
    Int,
    /// A string of bytes.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

/// A view of one value of a [`Document`] (`'d`), read from bytes that live for `'a`.
#[derive(Clone, Copy)]
pub struct Node<'d, 'a> {
    document: &'d Document<'a>,
    index: u32,
}

impl<'d, 'a> Node<'d, 'a> {
    pub(crate) fn new(document: &'d Document<'a>, index: u32) -> Self {
        Node { document, index }
    }

    /// What the value is.
    pub fn kind(self) -> Kind {
        self.token().kind
    }

    /// The exact bytes the value was read from: what an info-hash covers.
    pub fn raw(self) -> &'a [u8] {
        let token = self.token();
        &self.document.input[token.start as usize..token.end as usize]
    }

    /// Where [`Node::raw`] begins in the input.
    pub fn offset(self) -> usize {
        self.token().start as usize
    }

    /// The integer, if it is one and fits.
    pub fn as_int(self) -> Option<i64> {
        let digits = self.raw().strip_prefix(b"i")?.strip_suffix(b"e")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The integer, if it is one, not negative, and fits.
    pub fn as_u64(self) -> Option<u64> {
        let digits = self.raw().strip_prefix(b"i")?.strip_suffix(b"e")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The content, if it is a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        let head = usize::from(self.token().head);
        if self.kind() == Kind::Bytes { self.raw().get(head..) } else { None }
    }

    /// The content, if it is a string in UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The items, if it is a list; else nothing.
    pub fn list(self) -> ListIter<'d, 'a> {
        ListIter(self.children(Kind::List))
    }

    /// Keys and values as they stand, if it is a dictionary; else nothing.
    pub fn dict(self) -> DictIter<'d, 'a> {
        DictIter(self.children(Kind::Dict))
    }

    /// The value of the first `key`, if this is a dictionary and has it. Looks
    /// through all keys: to find many, go through [`Node::dict`] once.
    pub fn get(self, key: impl AsRef<[u8]>) -> Option<Node<'d, 'a>> {
        let key = key.as_ref();
        self.dict().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    fn token(self) -> Token {
        self.document.tokens[self.index as usize]
    }

    fn children(self, kind: Kind) -> Children<'d, 'a> {
        let token = self.token();
        let end = if token.kind == kind { token.next } else { 0 };
        Children { document: self.document, at: self.index + 1, end }
    }
}

impl fmt::Debug for Node<'_, '_> {
    /// The first 200 bytes as they stand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.raw();
        let shown = &raw[..raw.len().min(200)];
        write!(f, "{}{}", shown.escape_ascii(), if shown.len() < raw.len() { "..." } else { "" })
    }
}

#[derive(Clone)]
struct Children<'d, 'a> {
    document: &'d Document<'a>,
    at: u32,
    end: u32,
}

impl<'d, 'a> Children<'d, 'a> {
    fn next(&mut self) -> Option<Node<'d, 'a>> {
        if self.at >= self.end {
            return None;
        }
        let node = Node::new(self.document, self.at);
        self.at = node.token().next;
        Some(node)
    }
}

/// The items of a list.
#[derive(Clone)]
pub struct ListIter<'d, 'a>(Children<'d, 'a>);

impl<'d, 'a> Iterator for ListIter<'d, 'a> {
    type Item = Node<'d, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// The keys and values of a dictionary, in the order of the input.
#[derive(Clone)]
pub struct DictIter<'d, 'a>(Children<'d, 'a>);

impl<'d, 'a> Iterator for DictIter<'d, 'a> {
    type Item = (&'a [u8], Node<'d, 'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?.as_bytes()?;
        Some((key, self.0.next()?))
    }
}
