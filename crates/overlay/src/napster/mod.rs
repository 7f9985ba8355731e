//! Napster.
