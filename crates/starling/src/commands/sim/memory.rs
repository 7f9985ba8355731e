//! How much memory a simulation may take: the least of what the system has left, of what
//! its control groups let it have (cgroups(7), both versions), and of what its own limit on
//! address space leaves.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory that this process can still get, in bytes; none where the system does not tell.
pub fn free() -> Option<u64> {
    [available(), groups(), address_space()].into_iter().flatten().min()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number(path: PathBuf) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// The number behind `name` in a text of lines.
fn named(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// What the system has left.
fn available() -> Option<u64> {
    Some(named(&read("/proc/meminfo")?, "MemAvailable:")?.saturating_mul(1024))
}

/// What the control groups of this process leave it.
fn groups() -> Option<u64> {
    let text = read("/proc/self/cgroup")?;
    text.lines().filter_map(group).min()
}

/// The same of one line of `/proc/self/cgroup`: a number, controllers, a path.
fn group(line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let (root, most, used) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max", "memory.current")
    } else if controllers.split(',').any(|one| one == "memory") {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
    } else {
        return None;
    };
    // A limit above ours is ours too; inside a container, the path may not be seen at all.
    let folders = Path::new(path).ancestors().map(|folder| Path::new(root).join(folder));
    let left = folders.filter_map(|folder| {
        let most = number(folder.join(most))?;
        // Pages of files that nobody has used of late are given back first.
        let cached = read(folder.join("memory.stat")).and_then(|stat| named(&stat, "inactive_file "));
        let used = number(folder.join(used))?.saturating_sub(cached.unwrap_or(0));
        Some(most.saturating_sub(used))
    });
    left.min()
}

/// What the limit on address space leaves (`ulimit -v`).
fn address_space() -> Option<u64> {
    let most = named(&read("/proc/self/limits")?, "Max address space")?;
    let used = named(&read("/proc/self/status")?, "VmSize:")?.saturating_mul(1024);
    Some(most.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_names() {
        let limits = "Max cpu time              unlimited            unlimited            seconds\n\
                      Max address space         409600000            unlimited            bytes\n";
        assert_eq!(named(limits, "Max address space"), Some(409_600_000));
        assert_eq!(named(limits, "Max cpu time"), None);
        assert_eq!(named("MemAvailable:   19000 kB\n", "MemAvailable:"), Some(19_000));
        for line in ["0::/nowhere/at/all", "4:memory:/nowhere", "9:name=systemd:/", "", "4"] {
            assert!(group(line).is_none_or(|left| left > 0), "{line}");
        }
    }

    #[test]
    fn no_more_is_free_than_the_system_has() {
        assert!(free() <= available() || available().is_none());
    }
}
