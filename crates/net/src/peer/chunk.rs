//! The buffers that sockets are read into.
//!
//! A peer holds one only while it is being read. What of it are blocks goes on
//! as slices, and the last of them to be dropped, on whatever thread, brings the
//! memory back here.

use std::sync::{Arc, Mutex, PoisonError};

/// Bytes in the smallest chunk; sizes double up to [`CHUNK_MAX`].
pub(crate) const CHUNK_MIN: usize = 32 << 10;
/// Bytes in the largest chunk: 16 blocks, by which a system call is cheap.
pub(crate) const CHUNK_MAX: usize = 256 << 10;
/// Chunks of one size that are kept for reuse.
const SPARE_MAX: usize = 2;
const SIZES: usize = (CHUNK_MAX / CHUNK_MIN).ilog2() as usize + 1;

type Spare = Arc<Mutex<[Vec<Box<[u8]>>; SIZES]>>;

/// Where chunks come from and return to.
#[derive(Default)]
pub(crate) struct ChunkPool {
    spare: Spare,
}

impl ChunkPool {
    /// A chunk of at least `size` bytes, as far as there are such sizes.
    pub(crate) fn get(&self, size: usize) -> Chunk {
        let size = size.next_power_of_two().clamp(CHUNK_MIN, CHUNK_MAX);
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner)[class(size)].pop();
        let memory = spare.unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Chunk { memory, home: self.spare.clone() }
    }
}

fn class(size: usize) -> usize {
    ((size / CHUNK_MIN).max(1).ilog2() as usize).min(SIZES - 1)
}

/// Memory of the pool's; returns to it when dropped.
pub(crate) struct Chunk {
    memory: Box<[u8]>,
    home: Spare,
}

impl Chunk {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let mut spare = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        let same = &mut spare[class(memory.len())];
        if same.len() < SPARE_MAX {
            same.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn spares(pool: &ChunkPool) -> Vec<usize> {
        pool.spare.lock().unwrap().iter().map(Vec::len).collect()
    }

    #[test]
    fn a_chunk_returns_when_the_last_slice_is_dropped_on_another_thread() {
        let pool = ChunkPool::default();
        let mut chunk = pool.get(CHUNK_MAX);
        chunk.as_mut()[70] = 7;
        let bytes = Bytes::from_owner(chunk);
        let slice = bytes.slice(64..128);
        drop(bytes);
        assert_eq!(spares(&pool), [0, 0, 0, 0]);
        std::thread::spawn(move || assert_eq!(slice[6], 7)).join().unwrap();
        assert_eq!(spares(&pool), [0, 0, 0, 1]);
    }

    #[test]
    fn only_a_few_are_kept() {
        let pool = ChunkPool::default();
        let many: Vec<Chunk> = (0..10).map(|_| pool.get(1)).chain([pool.get(CHUNK_MIN + 1)]).collect();
        assert_eq!(many.iter().map(|c| c.as_ref().len()).max(), Some(2 * CHUNK_MIN));
        drop(many);
        assert_eq!(spares(&pool), [SPARE_MAX, 1, 0, 0]);
    }
}
