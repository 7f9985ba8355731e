//! How many files and sockets the system lets this process have open (RLIMIT_NOFILE), and
//! whose they are: a quarter is for the files of torrents that are kept open, half for
//! connections with peers. The rest is for everything that is open for a moment, and for what
//! each torrent and the program itself hold all the time; nothing here counts those.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What [`raise`] asks for at most: more is of no use.
const ENOUGH: u64 = 1 << 16;
/// Files of torrents that may be kept open, however little is allowed.
const FILES_MIN: usize = 16;
/// Connections, likewise.
const CONNECTIONS_MIN: usize = 8;

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

/// Connections that leave enough for all else.
pub fn for_connections() -> usize {
    (allowed() / 2).max(CONNECTIONS_MIN)
}

/// Files of torrents to keep open, `most` at most.
pub(crate) fn for_files(most: usize) -> usize {
    (allowed() / 4).max(FILES_MIN).min(most)
}

fn allowed() -> usize {
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}
