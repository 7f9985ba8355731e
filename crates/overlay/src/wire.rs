//! Bytes of messages between nodes of an overlay.
//!
//! A format of our own, for the overlays that never had one in common: integers
//! big-endian, lists behind a 16-bit count, enums behind a tag byte. It is bounded
//! and strict: a list has its largest length in its type, and a datagram must be
//! used up to its last byte. No message is longer than [`MESSAGE_MAX`]. What it
//! deliberately lacks: versions and optional fields; the network's name is checked by
//! whoever opens the socket.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Longest message, in bytes. No core makes a longer one and no driver carries one. It is
/// more than a datagram holds unfragmented because an answer to a search may name many
/// providers, 60 bytes and more each.
pub const MESSAGE_MAX: usize = 16 << 10;

/// Bytes of a list of records in a message; the rest is for what stands beside it.
pub const LIST_BYTES: usize = MESSAGE_MAX - 512;

/// Where encoded bytes go.
pub trait Writer {
    /// Takes `bytes`.
    fn put(&mut self, bytes: &[u8]);

    /// Takes bytes of which only their number matters, where no-one will read them.
    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.put(&[0]);
        }
    }
}

impl Writer for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the bytes of an encoding.
#[derive(Default, Debug)]
pub struct Count(pub usize);

impl Writer for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    #[inline]
    fn skip(&mut self, count: usize) {
        self.0 += count;
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The message is longer than what came.
    #[error("the peer sent a message cut short")]
    Short,
    /// Something follows the message.
    #[error("the peer sent {0} bytes after the message's end")]
    Long(usize),
    /// A list is longer than it may be.
    #[error("the peer sent a list of {0} entries where {1} are allowed")]
    TooMany(usize, usize),
    /// A tag or value that means nothing.
    #[error("the peer sent {0}, which means nothing there")]
    Unknown(u64),
}

/// What is left to read of a message.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Short)
    }

    /// Bytes left.
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

/// A value with one encoding.
pub trait Wire: Sized {
    /// Writes the value.
    fn encode(&self, out: &mut impl Writer);

    /// Reads one value and leaves the rest.
    ///
    /// # Errors
    /// [`Malformed`]: the peer's fault.
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// Bytes of the encoding.
    fn wire_len(&self) -> usize {
        let mut count = Count::default();
        self.encode(&mut count);
        count.0
    }

    /// The encoding.
    fn to_wire(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    /// The value that `bytes` encode, all of them.
    ///
    /// # Errors
    /// [`Malformed`]: the peer's fault.
    fn from_wire(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        if reader.left() == 0 { Ok(value) } else { Err(Malformed::Long(reader.left())) }
    }
}

macro_rules! integers {
    ($($kind:ty),*) => { $(
        impl Wire for $kind {
            #[inline]
            fn encode(&self, out: &mut impl Writer) {
                out.put(&self.to_be_bytes());
            }

            fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok(<$kind>::from_be_bytes(input.array()?))
            }
        }
    )* };
}
integers!(u8, u16, u32, u64);

impl Wire for bool {
    fn encode(&self, out: &mut impl Writer) {
        u8::from(*self).encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<bool, Malformed> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Malformed::Unknown(u64::from(other))),
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut impl Writer) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Option<T>, Malformed> {
        Ok(if bool::decode(input)? { Some(T::decode(input)?) } else { None })
    }
}

impl<T: Wire> Wire for Box<T> {
    fn encode(&self, out: &mut impl Writer) {
        (**self).encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Box<T>, Malformed> {
        T::decode(input).map(Box::new)
    }
}

/// At most `MAX` values; on the wire a 16-bit count and the values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// The first `MAX` of `values`.
    pub fn new(mut values: Vec<T>) -> Self {
        values.truncate(MAX);
        List(values)
    }

    /// As many of `values`, from the first one on, as fit: `MAX` of them, and
    /// [`LIST_BYTES`].
    pub fn fitting(values: impl IntoIterator<Item = T>) -> Self
    where
        T: Wire,
    {
        let mut room = LIST_BYTES;
        let fits = |value: &T| {
            let left = room.checked_sub(value.wire_len());
            room = left.unwrap_or(room);
            left.is_some()
        };
        List(values.into_iter().take(MAX).take_while(fits).collect())
    }

    /// The values.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> FromIterator<T> for List<T, MAX> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        List(values.into_iter().take(MAX).collect())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> DerefMut for List<T, MAX> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Wire, const MAX: usize> Wire for List<T, MAX> {
    fn encode(&self, out: &mut impl Writer) {
        (self.0.len().min(MAX) as u16).encode(out);
        self.0.iter().take(MAX).for_each(|value| value.encode(out));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = usize::from(u16::decode(input)?);
        if count > MAX {
            return Err(Malformed::TooMany(count, MAX));
        }
        (0..count).map(|_| T::decode(input)).collect::<Result<Vec<T>, _>>().map(List)
    }
}

/// Longest text in a message, in bytes; longer ones are refused before they get there
/// ([`crate::Command::Publish`], [`crate::Command::Search`]).
pub const MAX_TEXT: usize = 1024;

impl Wire for Arc<str> {
    fn encode(&self, out: &mut impl Writer) {
        let bytes = &self.as_bytes()[..self.floor_char_boundary_of(MAX_TEXT)];
        (bytes.len() as u16).encode(out);
        out.put(bytes);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Arc<str>, Malformed> {
        let length = usize::from(u16::decode(input)?);
        if length > MAX_TEXT {
            return Err(Malformed::TooMany(length, MAX_TEXT));
        }
        let text = std::str::from_utf8(input.take(length)?);
        text.map(Arc::from).map_err(|e| Malformed::Unknown(e.valid_up_to() as u64))
    }
}

/// Where a text may be cut.
trait FloorCharBoundary {
    /// The last boundary of characters at or before `at`.
    fn floor_char_boundary_of(&self, at: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_of(&self, at: usize) -> usize {
        (0..=at.min(self.len())).rev().find(|&at| self.is_char_boundary(at)).unwrap_or(0)
    }
}

/// An enum of messages with its encoding: a tag byte, then the fields in order.
///
/// ```
/// use starling_overlay::{RpcId, wire::Wire, wire_enum};
/// wire_enum! {
///     /// Two messages.
///     #[derive(Clone, PartialEq, Eq, Debug)]
///     pub enum Message<> {
///         /// Are you there?
///         1 => Ping { rpc: RpcId },
///         /// I am.
///         2 => Pong { rpc: RpcId, load: u32 },
///     }
/// }
/// let message = Message::Pong { rpc: RpcId(7), load: 9 };
/// assert_eq!(message.to_wire(), [2, 0, 0, 0, 7, 0, 0, 0, 9]);
/// assert_eq!(Message::from_wire(&message.to_wire()), Ok(message));
/// ```
#[macro_export]
macro_rules! wire_enum {
    (
        $(#[$outer:meta])*
        pub enum $name:ident<$($param:ident),*> {
            $( $(#[$inner:meta])* $tag:literal => $variant:ident { $($field:ident : $kind:ty),* $(,)? } ),* $(,)?
        }
    ) => {
        $(#[$outer])*
        #[allow(missing_docs)] // fields: what the variants' texts name
        pub enum $name<$($param),*> {
            $( $(#[$inner])* $variant { $($field: $kind),* } ),*
        }

        impl<$($param: $crate::wire::Wire),*> $crate::wire::Wire for $name<$($param),*> {
            fn encode(&self, out: &mut impl $crate::wire::Writer) {
                match self {
                    $( $name::$variant { $($field),* } => {
                        out.put(&[$tag]);
                        $( $field.encode(out); )*
                    } )*
                }
            }

            fn decode(
                input: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::Malformed> {
                match <u8 as $crate::wire::Wire>::decode(input)? {
                    $( $tag => Ok($name::$variant {
                        $( $field: $crate::wire::Wire::decode(input)? ),*
                    }), )*
                    other => Err($crate::wire::Malformed::Unknown(u64::from(other))),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_long_or_many_is_refused() {
        let list: List<u16, 3> = [1, 2, 3, 4].into_iter().collect();
        assert_eq!(list.to_wire(), [0, 3, 0, 1, 0, 2, 0, 3]);
        assert_eq!(list.wire_len(), 8);
        assert_eq!(List::<u16, 2>::from_wire(&list.to_wire()), Err(Malformed::TooMany(3, 2)));
        assert_eq!(List::<u16, 3>::from_wire(&list.to_wire()[..7]), Err(Malformed::Short));
        assert_eq!(u8::from_wire(&[1, 2]), Err(Malformed::Long(1)));
        assert_eq!(bool::from_wire(&[2]), Err(Malformed::Unknown(2)));
    }

    #[test]
    fn a_list_takes_what_fits_by_number_and_by_bytes() {
        let text = |length: usize| Arc::<str>::from("x".repeat(length));
        let of = |lengths: &[usize]| List::<_, 20>::fitting(lengths.iter().map(|&length| text(length))).len();
        assert_eq!(of(&[10; 30]), 20);
        let whole = LIST_BYTES / (2 + MAX_TEXT);
        assert_eq!(of(&[MAX_TEXT; 20]), whole);
        assert_eq!(of(&[&[MAX_TEXT; 15][..], &[600, 0]].concat()), whole, "nothing is left out in between");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text: Arc<str> = "é".repeat(600).into();
        let back = Arc::<str>::from_wire(&text.to_wire()).unwrap();
        assert_eq!(back.len(), MAX_TEXT);
        assert!(Arc::<str>::from_wire(&[0, 1, 0xff]).is_err());
    }
}
