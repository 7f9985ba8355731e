//! How many files and sockets the system lets this process have open (RLIMIT_NOFILE), and
//! whose they are. The first 48 are the program's: what it holds all the time (the
//! runtime's, sockets that listen, trackers and local discovery) and what its threads have open
//! for a moment. Each torrent holds two. Of the rest half is for connections with
//! peers and a quarter for files of torrents that are kept open, which are closed where others
//! need room; the last quarter is for all else: web seeds, trackers, resolvers.

use std::{fmt, io};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What [`raise`] asks for at most: more is of no use.
const ENOUGH: u64 = 1 << 16;
/// The program itself with its threads, before any torrent.
const OWN: usize = 48;
/// Of those, what threads have open for a moment: a file and a folder each.
const THREADS: usize = 12;
/// What each torrent holds while it is open: its folder, and a lock while it is fetched.
const A_TORRENT: usize = 2;
/// Files of torrents that may be kept open, however little is allowed.
const FILES_MIN: usize = 8;
/// Connections, likewise.
const CONNECTIONS_MIN: usize = 8;
/// One thread that has files open for this many descriptors.
const A_THREAD: usize = 32;
/// Connections that have not said what they want, for each place among the others.
const STRANGERS: usize = 4;
/// With fewer than this no command can do anything.
const LEAST: usize = 24;

/// More descriptors are needed than the process may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooFew {
    allowed: usize,
    needed: usize,
    torrents: usize,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooFew { allowed, needed, torrents } = self;
        let (what, fewer) = match torrents {
            0 | 1 => ("this".to_owned(), ""),
            more => (format!("{more} torrents at once"), ", or run fewer torrents"),
        };
        write!(
            f,
            "the system allows this process {allowed} open files and sockets, and {needed} are needed for \
             {what}; raise the hard limit (ulimit -Hn){fewer}"
        )
    }
}

impl std::error::Error for TooFew {}

/// Raises the limit as far as the process may, to 65,536 at most. It often is as low as it is
/// only for programs that use `select`. It is the whole process's: a matter of the program, not
/// of a library.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let target = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    if limit.current.is_some_and(|now| now < target)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(target), ..limit })
    {
        tracing::debug!(%error, target, "the limit of open files stays as it is");
    }
}

/// Whether the limit lets anything be done at all.
pub fn check() -> Result<(), TooFew> {
    suffice(LEAST, 0)
}

/// Whether so many torrents can be run beside what is open now: that of a node which has
/// started, and has no torrents yet.
pub fn check_torrents(torrents: usize) -> Result<(), TooFew> {
    suffice(needed(open_now(), torrents), torrents)
}

/// What is to be said where a node for so many torrents could not start for this error, if it
/// was for want of descriptors.
pub fn to_blame(error: &io::Error, torrents: usize) -> Option<TooFew> {
    let too_few = TooFew { allowed: allowed(), needed: needed(OWN - THREADS, torrents), torrents };
    (Errno::from_io_error(error) == Some(Errno::MFILE)).then_some(too_few)
}

fn suffice(needed: usize, torrents: usize) -> Result<(), TooFew> {
    let allowed = allowed();
    if allowed < needed { Err(TooFew { allowed, needed, torrents }) } else { Ok(()) }
}

fn needed(open: usize, torrents: usize) -> usize {
    open + THREADS + CONNECTIONS_MIN + CONNECTIONS_MIN / STRANGERS + FILES_MIN / 2 + A_TORRENT * torrents
}

/// Connections that leave enough for all else, of a node with so many torrents.
pub fn for_connections(torrents: usize) -> usize {
    (beside_own(torrents) / 2).max(CONNECTIONS_MIN)
}

/// Connections beside those that have not said yet which torrent they are for, likewise.
pub fn for_strangers() -> usize {
    for_connections(0) / STRANGERS
}

/// Files of torrents to keep open, `most` at most.
pub(crate) fn for_files(most: usize) -> usize {
    (beside_own(0) / 4).max(FILES_MIN).min(most)
}

/// Threads that have files open, `most` at most. Two are always needed: one may wait for a disk.
pub(crate) fn for_threads(most: usize) -> usize {
    (allowed() / A_THREAD).max(2).min(most)
}

fn beside_own(torrents: usize) -> usize {
    allowed().saturating_sub(OWN).saturating_sub(torrents.saturating_mul(A_TORRENT))
}

fn allowed() -> usize {
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}

/// How many this process has open; a guess where the system does not tell.
fn open_now() -> usize {
    // One of them is for looking.
    std::fs::read_dir("/dev/fd").map_or(OWN - THREADS, |open| open.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_torrent_adds_what_it_holds() {
        assert_eq!(needed(20, 30) - needed(20, 29), A_TORRENT);
        assert!(needed(OWN - THREADS, 1) <= 64, "one torrent fits into 64 in any case");
    }

    #[test]
    fn the_limit_and_the_remedy_are_named() {
        let said = TooFew { allowed: 64, needed: 110, torrents: 30 }.to_string();
        assert!(said.contains("64") && said.contains("110") && said.contains("ulimit -Hn"), "{said}");
    }
}
