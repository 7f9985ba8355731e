//! What the routing table says of a peer of which something was heard.

/// What became of a peer that proved to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard<P> {
    /// It was a contact already.
    Known,
    /// It is a contact now, or again.
    New,
    /// It took the place of a stale contact.
    Instead(P),
    /// The bucket is full of others; it waits as a spare, if spares are kept.
    Full,
}

/// What is known of a peer that sent a request, which proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It is a good contact.
    Known,
    /// It could be a contact if it proved to be there.
    Wanted,
    /// Its bucket is full.
    Full,
}

/// What became of a peer that did not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed<P> {
    /// It is no contact.
    Unknown,
    /// It has one more chance.
    Doubted,
    /// It is no longer used.
    Gone,
    /// It is no longer used, and that spare, unproven, has its place.
    Replaced(P),
}

/// Whom [`super::KTable::closest`] gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Good contacts: what one tells others.
    Good,
    /// Doubted ones too, or, if there is nobody else, stale ones: whom one asks.
    Usable,
}
