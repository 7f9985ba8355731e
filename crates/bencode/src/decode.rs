use std::fmt;

use thiserror::Error;

use crate::node::{Kind, Node};

/// Bounds on what is decoded, so that small input cannot cost much memory or stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Lists and dictionaries inside each other.
    pub depth: usize,
    /// Values in all, counting dictionary keys; each costs 16 bytes of memory.
    pub tokens: usize,
}

impl Default for Limits {
    /// For torrent files: 100 deep, 4 million tokens.
    fn default() -> Limits {
        Limits { depth: 100, tokens: 4_000_000 }
    }
}

impl Limits {
    /// For messages between peers, nodes and trackers: 100 deep, 20 000 tokens.
    pub const MESSAGE: Limits = Limits { depth: 100, tokens: 20_000 };
}

/// Where and why bytes are not bencoding, or more of it than [`Limits`] allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{kind} at byte {offset}")]
pub struct Error {
    /// Bytes from the beginning of the input.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong with the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ErrorKind {
    /// The input stops inside a value.
    #[error("the input ends inside a value")]
    UnexpectedEnd,
    /// A byte that begins no value.
    #[error("a byte that begins no value")]
    UnexpectedByte,
    /// Neither a string nor the end of the dictionary where a key must be.
    #[error("a dictionary key that is not a string")]
    KeyNotString,
    /// A dictionary ends after a key.
    #[error("a dictionary key without a value")]
    KeyWithoutValue,
    /// An integer or length that is empty, has leading zeros, or is minus zero.
    #[error("a number that is not in its shortest form")]
    BadNumber,
    /// A string length beyond the input.
    #[error("a string longer than the input")]
    StringTooLong,
    /// Bytes after the value.
    #[error("bytes after the end of the value")]
    TrailingBytes,
    /// Deeper than [`Limits::depth`].
    #[error("values nested too deeply")]
    TooDeep,
    /// More than [`Limits::tokens`].
    #[error("too many values")]
    TooManyTokens,
    /// The input is 4 GiB or more.
    #[error("an input of 4 GiB or more")]
    InputTooLong,
}

/// One value on the tape. The values inside a list or dictionary follow it.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Index of the first token after this value and everything inside it.
    pub(crate) next: u32,
    pub(crate) kind: Kind,
    /// Bytes before a string's content.
    pub(crate) head: u8,
}

/// A decoded value, with the bytes it was read from.
#[derive(Clone)]
pub struct Document<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) tokens: Vec<Token>,
    canonical: bool,
}

impl<'a> Document<'a> {
    /// The outermost value.
    pub fn root(&self) -> Node<'_, 'a> {
        Node::new(self, 0)
    }

    /// Whether these bytes are the only right encoding of the value: every
    /// dictionary's keys are in order and distinct.
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root().fmt(f)
    }
}

/// Decodes one value that is the whole of `input`.
pub fn decode(input: &[u8], limits: Limits) -> Result<Document<'_>, Error> {
    let (document, used) = decode_prefix(input, limits)?;
    if used < input.len() {
        return Err(Error { offset: used, kind: ErrorKind::TrailingBytes });
    }
    Ok(document)
}

/// Decodes the value at the beginning of `input` and tells how many bytes it takes.
pub fn decode_prefix(input: &[u8], limits: Limits) -> Result<(Document<'_>, usize), Error> {
    if u32::try_from(input.len()).is_err() {
        return Err(Error { offset: 0, kind: ErrorKind::InputTooLong });
    }
    let mut decoder = Decoder { input, at: 0, limits, tokens: Vec::new(), open: Vec::new(), canonical: true };
    decoder.run()?;
    let Decoder { at, tokens, canonical, .. } = decoder;
    Ok((Document { input, tokens, canonical }, at))
}

/// A list or dictionary whose end has not been read yet.
struct Open {
    token: u32,
    dict: bool,
    /// In a dictionary: a key was read and its value is next.
    after_key: bool,
    last_key: Option<u32>,
}

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
    limits: Limits,
    tokens: Vec<Token>,
    open: Vec<Open>,
    canonical: bool,
}

impl Decoder<'_> {
    fn run(&mut self) -> Result<(), Error> {
        loop {
            match self.peek()? {
                b'e' => self.close()?,
                byte => self.begin(byte)?,
            }
            if self.open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads a whole integer or string, or the first byte of a list or dictionary.
    fn begin(&mut self, byte: u8) -> Result<(), Error> {
        let key = self.open.last().is_some_and(|open| open.dict && !open.after_key);
        if key && !byte.is_ascii_digit() {
            return self.fail(ErrorKind::KeyNotString);
        }
        match byte {
            b'0'..=b'9' => self.string()?,
            b'i' => self.integer()?,
            b'l' => return self.container(Kind::List),
            b'd' => return self.container(Kind::Dict),
            _ => return self.fail(ErrorKind::UnexpectedByte),
        }
        if key {
            self.note_key();
        } else {
            self.note_value();
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.digits()?;
        let digits = &self.input[start..self.at];
        if self.peek()? != b':' {
            return self.fail(ErrorKind::BadNumber);
        }
        let body = self.at + 1;
        let length = std::str::from_utf8(digits).ok().and_then(|s| s.parse::<usize>().ok());
        let end = length.and_then(|n| body.checked_add(n)).filter(|&end| end <= self.input.len());
        self.at = end.ok_or(Error { offset: start, kind: ErrorKind::StringTooLong })?;
        self.push(Kind::Bytes, start, (body - start) as u8)
    }

    fn integer(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        self.digits()?;
        let minus_zero = negative && self.input[start..self.at] == *b"i-0";
        if minus_zero || self.peek()? != b'e' {
            return self.fail(ErrorKind::BadNumber);
        }
        self.at += 1;
        self.push(Kind::Int, start, 0)
    }

    /// Goes past digits: at least one, no leading zero.
    fn digits(&mut self) -> Result<(), Error> {
        let rest = &self.input[self.at..];
        let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = &rest[..length];
        if length == rest.len() {
            return Err(Error { offset: self.input.len(), kind: ErrorKind::UnexpectedEnd });
        }
        if digits.is_empty() || (length > 1 && digits[0] == b'0') {
            return Err(Error { offset: self.at, kind: ErrorKind::BadNumber });
        }
        self.at += length;
        Ok(())
    }

    fn container(&mut self, kind: Kind) -> Result<(), Error> {
        if self.open.len() >= self.limits.depth {
            return self.fail(ErrorKind::TooDeep);
        }
        let (token, start) = (self.tokens.len() as u32, self.at);
        self.at += 1;
        self.push(kind, start, 0)?;
        self.open.push(Open { token, dict: kind == Kind::Dict, after_key: false, last_key: None });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        match self.open.pop() {
            None => return self.fail(ErrorKind::UnexpectedByte),
            Some(open) if open.after_key => return self.fail(ErrorKind::KeyWithoutValue),
            Some(open) => {
                self.at += 1;
                let next = self.tokens.len() as u32;
                let token = &mut self.tokens[open.token as usize];
                (token.end, token.next) = (self.at as u32, next);
            }
        }
        self.note_value();
        Ok(())
    }

    fn push(&mut self, kind: Kind, start: usize, head: u8) -> Result<(), Error> {
        if self.tokens.len() >= self.limits.tokens.min(u32::MAX as usize) {
            return Err(Error { offset: start, kind: ErrorKind::TooManyTokens });
        }
        let next = self.tokens.len() as u32 + 1;
        self.tokens.push(Token { start: start as u32, end: self.at as u32, next, kind, head });
        Ok(())
    }

    /// The token just pushed is a key: checks its place in the order.
    fn note_key(&mut self) {
        let key = self.tokens.len() as u32 - 1;
        let content = |index: u32| {
            let token = &self.tokens[index as usize];
            &self.input[token.start as usize + usize::from(token.head)..token.end as usize]
        };
        let Some(open) = self.open.last_mut() else { return };
        if open.last_key.is_some_and(|last| content(last) >= content(key)) {
            self.canonical = false;
        }
        (open.last_key, open.after_key) = (Some(key), true);
    }

    fn note_value(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.after_key = false;
        }
    }

    fn peek(&self) -> Result<u8, Error> {
        let end = Error { offset: self.input.len(), kind: ErrorKind::UnexpectedEnd };
        self.input.get(self.at).copied().ok_or(end)
    }

    fn fail<T>(&self, kind: ErrorKind) -> Result<T, Error> {
        Err(Error { offset: self.at, kind })
    }
}
