//! Gnutella.
