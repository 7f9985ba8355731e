//! Kelips.
