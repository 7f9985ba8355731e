//! SHA-1 and SHA-256 (FIPS 180-4) over several independent streams at once.
//!
//! A node of a swarm hashes many independent things: pieces (SHA-1, BEP 3),
//! leaves of 16 KiB and the nodes above them (SHA-256, BEP 52). One stream of
//! either hash is a chain of instructions that wait for each other; streams side
//! by side fill the waits. So a processor's hashing costs least when the caller
//! brings several streams to one call:
//!
//! - [`update_many`] feeds any number of incremental [`Sha1`] or [`Sha256`] states;
//! - [`sha1_many`], [`sha256_many`], [`sha256_pairs`] hash whole messages;
//! - [`update_both`] and [`update_with_leaves`] hash the same bytes both ways,
//!   as a hybrid torrent wants.
//!
//! How it is done, best first, by what the processor is seen to have at run time:
//! sixteen streams in the lanes of AVX-512; two streams interleaved with the SHA
//! extensions; else one by one with the `sha1` and `sha2` crates. [`width`] tells
//! how many streams the best of them takes. The digests are the same on all.
//!
//! What it gives, in MB/s of one core of a Sapphire Rapids Xeon at 3 GHz
//! (`examples/lanes_speed.rs` measures the machine at hand):
//!
//! | streams                      | SHA-1 | SHA-256 | both of the same bytes |
//! |------------------------------|-------|---------|------------------------|
//! | one, the crates              |  1600 |    1460 |                    760 |
//! | two, SHA extensions          |  1880 |    1770 |                    970 |
//! | sixteen, AVX-512             |  6000 |    3270 |                   2070 |
//!
//! Both hashes of one piece, its leaves sixteen at a time, run at 1070.
//!
//! Deliberately absent: threads (a caller has its own pool), AVX2 lanes, and any
//! use as a secret's hash (nothing here is wiped from memory).

mod algorithm;
mod hasher;
mod hybrid;
mod kernels;
mod many;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use algorithm::{Algorithm, Block, Sha1Algorithm, Sha256Algorithm};
pub use hasher::{Hasher, Sha1, Sha256};
pub use hybrid::{update_both, update_with_leaves};
pub use kernels::width;
pub use many::{finalize_many, sha1_many, sha256_many, sha256_pairs, update_many, update2};

#[cfg(test)]
mod tests;
