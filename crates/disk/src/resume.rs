//! The resume file: a journal of what was verified and what is surely on the medium.
//!
//! ```text
//! header   "STARLRS1"  identity 32  pieces u32  crc32
//! record   kind u8  length u32  payload  crc32 (over kind, length, payload)
//!   1 verified    u32 …          hash was right; data perhaps not synced yet
//!   2 checkpoint  u64            the first so many entries of 1 are synced
//!   3 snapshot    bitfield       all of these are synced
//!   4 files       (u32 u64 i64 u32) …   index, length, modification time s and ns; the index
//!                                       after the last file's is the parts file's
//!   5 clean       -              stopped in order; only if it is the last record
//!   6 lost        u32 …          no longer good
//!   7 layer       u32 hashes     the piece layer of a file (BEP 52)
//!   8 dirty       -              writing goes on after a clean stop
//!   9 owned       u32 …          these files are ours to write to
//! ```
//! Numbers are little-endian. Records are only ever appended; a snapshot replaces
//! the file as a whole. A torn last record is what a crash leaves and is dropped;
//! any other damage makes the whole file worthless, and the data is hashed again.
//!
//! Nothing here touches a file.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use starling_metainfo::{Bitfield, Info, Sha256Hash};
use thiserror::Error;

use crate::storage::Stat;

const MAGIC: &[u8; 8] = b"STARLRS1";
const HEADER: usize = 8 + 32 + 4 + 4;
const FRAME: usize = 1 + 4 + 4;

const VERIFIED: u8 = 1;
const CHECKPOINT: u8 = 2;
const SNAPSHOT: u8 = 3;
const FILES: u8 = 4;
const CLEAN: u8 = 5;
const LOST: u8 = 6;
const LAYER: u8 = 7;
const DIRTY: u8 = 8;
const OWNED: u8 = 9;

/// Which torrent a resume file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The v2 info-hash, or the v1 one and zeros.
    pub id: [u8; 32],
    /// How many pieces there are.
    pub pieces: u32,
    /// How many entries `layout.files()` has.
    pub files: usize,
}

impl Identity {
    /// What names `info` here.
    pub fn of(info: &Info) -> Identity {
        let mut id = [0; 32];
        match (info.hashes.v2(), info.hashes.v1()) {
            (Some(v2), _) => id = v2.0,
            (None, Some(v1)) => id[..20].copy_from_slice(&v1.0),
            (None, None) => {}
        }
        Identity { id, pieces: info.layout.pieces(), files: info.layout.files().len() }
    }
}

/// What a resume file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resume {
    /// Verified and on the medium.
    pub synced: Bitfield,
    /// Verified, but a crash may have taken the data.
    pub unsynced: Vec<u32>,
    /// After a stop in order: the files as they were left. The parts file stands after the
    /// last of `layout.files()`.
    pub clean: Option<Vec<(usize, Stat)>>,
    /// The files that were wanted, or had been left by an earlier run.
    pub owned: BTreeSet<usize>,
    /// Piece layers, not checked against the files' roots.
    pub layers: Vec<(usize, Vec<Sha256Hash>)>,
    /// Verified pieces that the journal names one by one; checkpoints count them.
    pub entries: u64,
}

/// Why a resume file is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ResumeError {
    /// It does not begin as one, or belongs to another torrent.
    #[error("it is not a resume file of this torrent")]
    Foreign,
    /// A record within it has the wrong check sum or makes no sense.
    #[error("it is damaged")]
    Damaged,
}

/// Reads a resume file. Any bytes are safe; memory stays within a few times theirs.
pub fn parse(bytes: &[u8], of: &Identity) -> Result<Resume, ResumeError> {
    let Some((header, mut rest)) = bytes.split_at_checked(HEADER) else { return Err(ResumeError::Foreign) };
    if header != header_bytes(of) {
        return Err(ResumeError::Foreign);
    }
    let mut reading = Reading::new(of.pieces);
    while !rest.is_empty() {
        match split_record(rest) {
            Some((kind, payload, after)) => {
                reading.take(kind, payload, of).ok_or(ResumeError::Damaged)?;
                rest = after;
            }
            None if is_torn(rest) => {
                reading.clean = None;
                break;
            }
            None => return Err(ResumeError::Damaged),
        }
    }
    Ok(reading.finish())
}

struct Reading {
    snapshot: Bitfield,
    /// In the order of the journal; a lost piece leaves a gap.
    verified: Vec<Option<u32>>,
    synced: usize,
    files: Vec<(usize, Stat)>,
    clean: Option<()>,
    owned: BTreeSet<usize>,
    layers: Vec<(usize, Vec<Sha256Hash>)>,
}

impl Reading {
    fn new(pieces: u32) -> Reading {
        let snapshot = Bitfield::new(pieces);
        Reading {
            snapshot,
            verified: Vec::new(),
            synced: 0,
            files: Vec::new(),
            clean: None,
            owned: BTreeSet::new(),
            layers: Vec::new(),
        }
    }

    fn take(&mut self, kind: u8, payload: &[u8], of: &Identity) -> Option<()> {
        self.clean = None;
        match kind {
            VERIFIED => self.verified.extend(pieces(payload, of.pieces)?.into_iter().map(Some)),
            CHECKPOINT => {
                let upto = usize::try_from(u64::from_le_bytes(payload.try_into().ok()?)).ok()?;
                if upto > self.verified.len() {
                    return None;
                }
                self.synced = self.synced.max(upto);
            }
            SNAPSHOT => self.snapshot = Bitfield::from_bytes(payload, of.pieces)?,
            FILES => self.files = files(payload, of.files)?,
            CLEAN if payload.is_empty() => self.clean = Some(()),
            LOST => self.lose(&pieces(payload, of.pieces)?),
            LAYER => self.layers.push(layer(payload, of.files)?),
            DIRTY if payload.is_empty() => {}
            OWNED => self.owned.extend(owned(payload, of.files)?),
            _ => return None,
        }
        Some(())
    }

    fn lose(&mut self, lost: &[u32]) {
        let mut gone = Bitfield::new(self.snapshot.len());
        for &piece in lost {
            self.snapshot.remove(piece);
            gone.insert(piece);
        }
        for entry in &mut self.verified {
            *entry = entry.filter(|&piece| !gone.get(piece));
        }
    }

    fn finish(self) -> Resume {
        let entries = self.verified.len() as u64;
        let mut synced = self.snapshot;
        let (safe, unsafe_) = self.verified.split_at(self.synced);
        for &piece in safe.iter().flatten() {
            synced.insert(piece);
        }
        let mut seen = synced.clone();
        let unsynced = unsafe_.iter().flatten().copied().filter(|&piece| seen.insert(piece)).collect();
        Resume {
            synced,
            unsynced,
            clean: self.clean.map(|()| self.files),
            owned: self.owned,
            layers: self.layers,
            entries,
        }
    }
}

fn split_record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let length = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
    let end = length.checked_add(FRAME)?;
    let (record, after) = bytes.split_at_checked(end)?;
    let (body, sum) = record.split_at_checked(end - 4)?;
    (crc32(body).to_le_bytes() == sum).then_some((*body.first()?, body.get(5..)?, after))
}

/// Whether what cannot be read is just an append that a crash cut off: it reaches the
/// end of the file, or was never filled in.
fn is_torn(rest: &[u8]) -> bool {
    let length = rest.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    length.is_none_or(|length| length as usize + FRAME >= rest.len()) || rest.iter().all(|&byte| byte == 0)
}

fn pieces(payload: &[u8], count: u32) -> Option<Vec<u32>> {
    let (numbers, []) = payload.as_chunks::<4>() else { return None };
    numbers.iter().map(|&n| Some(u32::from_le_bytes(n)).filter(|&piece| piece < count)).collect()
}

fn owned(payload: &[u8], count: usize) -> Option<Vec<usize>> {
    let (numbers, []) = payload.as_chunks::<4>() else { return None };
    let index = |&n: &[u8; 4]| Some(u32::from_le_bytes(n) as usize).filter(|index| *index < count);
    numbers.iter().map(index).collect()
}

fn files(payload: &[u8], count: usize) -> Option<Vec<(usize, Stat)>> {
    let (entries, []) = payload.as_chunks::<24>() else { return None };
    entries.iter().map(|entry| file(entry).filter(|(index, _)| *index <= count)).collect()
}

fn file(entry: &[u8; 24]) -> Option<(usize, Stat)> {
    let index = u32::from_le_bytes(entry[..4].try_into().ok()?) as usize;
    let length = u64::from_le_bytes(entry[4..12].try_into().ok()?);
    let seconds = i64::from_le_bytes(entry[12..20].try_into().ok()?);
    let nanos = u32::from_le_bytes(entry[20..].try_into().ok()?);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    Some((index, Stat { length, modified: base?.checked_add(Duration::from_nanos(nanos.into()))? }))
}

fn layer(payload: &[u8], count: usize) -> Option<(usize, Vec<Sha256Hash>)> {
    let (index, hashes) = payload.split_at_checked(4)?;
    let index = u32::from_le_bytes(index.try_into().ok()?) as usize;
    let (hashes, []) = hashes.as_chunks::<32>() else { return None };
    (index < count).then(|| (index, hashes.iter().map(|&hash| Sha256Hash(hash)).collect()))
}

fn header_bytes(of: &Identity) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..40].copy_from_slice(&of.id);
    header[40..44].copy_from_slice(&of.pieces.to_le_bytes());
    let sum = crc32(&header[..44]);
    header[44..].copy_from_slice(&sum.to_le_bytes());
    header
}

fn record(out: &mut Vec<u8>, kind: u8, payload: impl IntoIterator<Item = u8>) {
    let start = out.len();
    out.push(kind);
    out.extend([0; 4]);
    out.extend(payload);
    let length = (out.len() - start - 5) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
    let sum = crc32(&out[start..]);
    out.extend(sum.to_le_bytes());
}

/// A whole new resume file.
pub fn snapshot(
    of: &Identity,
    synced: &Bitfield,
    layers: &[(usize, &[Sha256Hash])],
    owned: &[usize],
    clean: Option<&[(usize, Stat)]>,
) -> Vec<u8> {
    let mut out = header_bytes(of).to_vec();
    record(&mut out, SNAPSHOT, synced.as_bytes().iter().copied());
    if !owned.is_empty() {
        out.extend(owned_record(owned));
    }
    for (file, hashes) in layers {
        out.extend(layer_record(*file, hashes));
    }
    if let Some(files) = clean {
        record(&mut out, FILES, files.iter().flat_map(|(index, stat)| file_bytes(*index, stat)));
        record(&mut out, CLEAN, []);
    }
    out
}

fn file_bytes(index: usize, stat: &Stat) -> [u8; 24] {
    let (seconds, nanos) = match stat.modified.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
        Err(before) => before_epoch(before.duration()),
    };
    let mut entry = [0; 24];
    entry[..4].copy_from_slice(&(index as u32).to_le_bytes());
    entry[4..12].copy_from_slice(&stat.length.to_le_bytes());
    entry[12..20].copy_from_slice(&seconds.to_le_bytes());
    entry[20..].copy_from_slice(&nanos.to_le_bytes());
    entry
}

fn before_epoch(before: Duration) -> (i64, u32) {
    match before.subsec_nanos() {
        0 => (-(before.as_secs() as i64), 0),
        nanos => (-(before.as_secs() as i64) - 1, 1_000_000_000 - nanos),
    }
}

/// The record for pieces whose hash was right.
pub fn verified_record(pieces: &[u32]) -> Vec<u8> {
    numbers(VERIFIED, pieces)
}

/// The record for pieces that are not good any more.
pub fn lost_record(pieces: &[u32]) -> Vec<u8> {
    numbers(LOST, pieces)
}

/// The record that the first `entries` verified ones are synced.
pub fn checkpoint_record(entries: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME + 8);
    record(&mut out, CHECKPOINT, entries.to_le_bytes());
    out
}

/// The record of a file's piece layer.
pub fn layer_record(file: usize, hashes: &[Sha256Hash]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME + 4 + hashes.len() * 32);
    record(&mut out, LAYER, (file as u32).to_le_bytes().into_iter().chain(hashes.iter().flat_map(|h| h.0)));
    out
}

/// The record of files that are ours to write to.
pub fn owned_record(files: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME + files.len() * 4);
    record(&mut out, OWNED, files.iter().flat_map(|&file| (file as u32).to_le_bytes()));
    out
}

/// The record that ends a clean stop.
pub fn dirty_record() -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME);
    record(&mut out, DIRTY, []);
    out
}

fn numbers(kind: u8, pieces: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME + pieces.len() * 4);
    record(&mut out, kind, pieces.iter().flat_map(|piece| piece.to_le_bytes()));
    out
}

/// CRC-32 as in Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc_table();
    !bytes.iter().fold(!0, |crc: u32, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests;
