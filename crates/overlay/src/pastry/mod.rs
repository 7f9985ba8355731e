//! Pastry.
