//! Files to share, and whether what arrived is the same.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::{Result, context};

const CHUNK: usize = 1 << 20;
/// Bytes that memory must have free for tests to play there.
const ROOM: u64 = 8 << 30;

/// Writes a file of `length` bytes that no compression or luck can guess: the
/// outputs of xorshift64* from `seed`.
pub fn write_random(path: &Path, length: u64, seed: u64) -> Result<()> {
    let doing = path.display().to_string();
    if let Some(parent) = path.parent() {
        context(std::fs::create_dir_all(parent), &doing)?;
    }
    let mut file = context(File::create(path), &doing)?;
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut chunk = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        fill(&mut chunk, &mut state);
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        context(file.write_all(&chunk[..part]), &doing)?;
        left -= part as u64;
    }
    Ok(())
}

fn fill(chunk: &mut [u8], state: &mut u64) {
    for word in chunk.chunks_exact_mut(8) {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        word.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
}

/// A file of `length` bytes, all of them holes but a few words at both ends and
/// across each GiB.
pub fn write_sparse(path: &Path, length: u64) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let doing = path.display().to_string();
    let file = context(File::create(path), &doing)?;
    context(file.set_len(length), &doing)?;
    let marks = (0..length).step_by(1 << 30).map(|at| at.saturating_sub(4)).chain([length.saturating_sub(8)]);
    for at in marks {
        context(file.write_all_at(&at.to_le_bytes(), at), &doing)?;
    }
    Ok(())
}

/// A folder of files whose names and sizes are all allowed and none is nice.
pub fn write_awkward(folder: &Path) -> Result<()> {
    let names = [
        ("plain.bin", 300_000),
        ("with space and ünïcödé ☃.txt", 20_000),
        ("empty", 0),
        ("one byte", 1),
        ("deep/er/and deeper/leaf.dat", 70_001),
        ("deep/er/UPPER.DAT", 16_384),
        ("deep/er/upper2.dat", 16_385),
        (".hidden", 333),
        ("percent%20&query=1#frag+plus.bin", 40_000),
        ("-starts-with-a-dash", 5_000),
        ("quote'`$(x);.txt", 12_345),
        ("日本語/ファイル", 99_999),
    ];
    let mut files = names.iter().zip(1..);
    files.try_for_each(|((name, length), seed)| write_random(&folder.join(name), *length, seed))
}

/// Makes the empty files of `wanted` that `got` lacks, where its program never does.
pub fn add_empty_files(wanted: &Path, got: &Path) -> Result<()> {
    if !wanted.is_dir() {
        return Ok(());
    }
    for name in entries(wanted)? {
        let (from, to) = (wanted.join(&name), got.join(&name));
        if from.is_dir() {
            add_empty_files(&from, &to)?;
        } else if from.metadata().is_ok_and(|meta| meta.len() == 0) && !to.exists() {
            context(File::create(&to), &to.display().to_string())?;
        }
    }
    Ok(())
}

/// An error that names the first difference between two files or folders.
/// Whatever only `got` has is no difference.
pub fn same(wanted: &Path, got: &Path) -> Result<()> {
    if wanted.is_dir() {
        return entries(wanted)?.iter().try_for_each(|name| same(&wanted.join(name), &got.join(name)));
    }
    let mut files = [open(wanted)?, open(got)?];
    let lengths = [&files[0], &files[1]].map(|file| file.metadata().map(|meta| meta.len()).unwrap_or(0));
    if lengths[0] != lengths[1] {
        return Err(format!("{}: {} bytes, not {}", got.display(), lengths[1], lengths[0]));
    }
    let mut chunks = [vec![0; CHUNK], vec![0; CHUNK]];
    let mut at = 0;
    while at < lengths[0] {
        let part = usize::try_from(lengths[0] - at).unwrap_or(CHUNK).min(CHUNK);
        for (file, chunk) in files.iter_mut().zip(&mut chunks) {
            context(file.read_exact(&mut chunk[..part]), &got.display().to_string())?;
        }
        if chunks[0][..part] != chunks[1][..part] {
            return Err(format!("{}: differs in the MiB at {at}", got.display()));
        }
        at += part as u64;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    context(File::open(path), &path.display().to_string())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = context(std::fs::read_dir(folder), &folder.display().to_string())?;
    Ok(read.flatten().map(|entry| entry.file_name().into()).collect())
}

/// Bytes that the files below a folder occupy, holes left out.
pub fn bytes_on_disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = folder.symlink_metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.blocks() * 512;
    }
    let names = entries(folder).unwrap_or_default();
    names.iter().map(|name| bytes_on_disk(&folder.join(name))).sum()
}

/// A fresh folder in memory where there is room, else where temporary files go.
pub fn scratch() -> Result<tempfile::TempDir> {
    let shm = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(shm).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    let parent = if room >= ROOM { shm.to_path_buf() } else { std::env::temp_dir() };
    let made = tempfile::Builder::new().prefix("starling-").tempdir_in(&parent);
    context(made, &parent.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found() {
        let folder = scratch().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        write_awkward(&a).unwrap();
        write_awkward(&b).unwrap();
        assert_eq!(same(&a, &b), Ok(()));
        write_random(&b.join("one byte"), 1, 99).unwrap();
        assert!(same(&a, &b).unwrap_err().contains("one byte"));
        std::fs::remove_file(b.join("one byte")).unwrap();
        assert!(same(&a, &b).unwrap_err().contains("one byte"));
    }

    #[test]
    fn holes_occupy_nothing() {
        let folder = scratch().unwrap();
        write_sparse(&folder.path().join("holes"), 3 << 30).unwrap();
        assert!(bytes_on_disk(folder.path()) < 1 << 20);
    }
}
