//! Reading for uploads.

use std::io::IoSliceMut;
use std::sync::Arc;

use bytes::Bytes;

use crate::torrent::Torrent;
use crate::{DiskError, Event};

/// More is not read at once: the largest request that is ever answered.
const READ_MAX: u32 = 1 << 20;

impl Torrent {
    /// Whether the torrent has such bytes at all.
    fn has_range(&self, piece: u32, begin: u32, length: u32) -> bool {
        let end = begin.checked_add(length);
        length <= READ_MAX && end.is_some_and(|end| end <= self.info.layout.padded_len(piece))
    }

    /// Reads on a worker and answers with [`Event::Read`].
    pub(crate) fn read_slowly(self: &Arc<Torrent>, token: u64, piece: u32, begin: u32, length: u32) {
        self.submit(move |torrent, _| {
            let result = torrent.read_now(piece, begin, length);
            match &result {
                Ok(bytes) => torrent.served(piece, bytes.len()),
                Err(DiskError::OutOfRange) => {}
                Err(error) if error.is_absence() => torrent.missed(piece),
                Err(_) => torrent.suspect(piece),
            }
            torrent.shared.tell(Event::Read { key: torrent.key, token, result });
        });
    }

    fn read_now(&self, piece: u32, begin: u32, length: u32) -> Result<Bytes, DiskError> {
        if !self.has_range(piece, begin, length) {
            return Err(DiskError::OutOfRange);
        }
        self.io().will_need(piece, begin);
        let mut buffer = vec![0; length as usize];
        self.io().read(piece, begin, &mut buffer)?;
        Ok(buffer.into())
    }

    /// Reads without waiting, or not at all.
    pub(crate) fn read_resident(
        self: &Arc<Torrent>,
        piece: u32,
        begin: u32,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Option<()> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if !self.has_range(piece, begin, u32::try_from(total).ok()?) {
            return None;
        }
        self.io().read_resident(piece, begin, bufs)?;
        self.served(piece, total);
        Some(())
    }
}
