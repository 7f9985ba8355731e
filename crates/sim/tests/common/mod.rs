//! What the simulator's tests share.
#![allow(dead_code)] // each test program uses a part of it

use std::fmt::Write;
use std::path::Path;

/// Writes down the hashes of traces, to be compared with those of another build, if
/// somebody asked for it by naming a folder in `STARLING_TRACES`.
pub fn note_traces(name: &str, hashes: &[u64]) {
    let Some(folder) = std::env::var_os("STARLING_TRACES") else { return };
    let mut text = String::new();
    hashes.iter().for_each(|hash| writeln!(text, "{hash:016x}").unwrap());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(Path::new(&folder).join(name), text).unwrap();
}
