//! Every input that a fuzzer found or a person thought of, through its entry point again.

#![allow(clippy::unwrap_used)] // the corpus is made of files

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target, by name.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(corpus().join(target)).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let named = files.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap()));
    named.collect()
}

/// Gives variants of every input to its target; fails with the names of those that
/// went wrong, after all were tried.
fn replay(variants: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    let mut wrong = Vec::new();
    for (target, run) in starling_fuzz::TARGETS {
        for (name, input) in inputs(target) {
            let bad = variants(&input).into_iter().find(|variant| catch_unwind(|| run(variant)).is_err());
            wrong.extend(bad.map(|bad| format!("{name}: {}", bad.escape_ascii())));
        }
    }
    assert!(wrong.is_empty(), "{} inputs went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_target_survives_its_corpus() {
    replay(|input| vec![input.to_vec()]);
}

/// Each input cut short: what a peer that goes away leaves.
#[test]
fn every_target_survives_its_corpus_cut_short() {
    replay(|input| (0..input.len().min(512)).map(|end| input[..end].to_vec()).collect());
}

/// Each bit turned in the beginning of each input: what a fuzzer tries first.
#[test]
fn every_target_survives_its_corpus_damaged() {
    let turn = |input: &[u8], bit: usize| {
        let mut damaged = input.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged
    };
    replay(|input| (0..input.len().min(256) * 8).map(|bit| turn(input, bit)).collect());
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    for (target, _) in starling_fuzz::TARGETS {
        assert!(!inputs(target).is_empty(), "fuzz/corpus/{target} has no inputs");
    }
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let folder = entry.unwrap().file_name();
        let known = starling_fuzz::TARGETS.iter().any(|(name, _)| folder == *name);
        assert!(known, "fuzz/corpus/{} has no entry point", folder.display());
    }
}
