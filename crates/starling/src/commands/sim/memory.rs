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
    text.lines().filter_map(|line| group(line, Path::new("/sys/fs/cgroup"))).min()
}

/// The same of one line of `/proc/self/cgroup`: a number, controllers, a path below `mount`.
fn group(line: &str, mount: &Path) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let (root, most, used) = if controllers.is_empty() {
        (mount.to_owned(), "memory.max", "memory.current")
    } else if controllers.split(',').any(|one| one == "memory") {
        (mount.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")
    } else {
        return None;
    };
    // A limit above ours is ours too; inside a container, the path may not be seen at all.
    let folders = Path::new(path).ancestors().map(|folder| root.join(folder));
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
#[allow(clippy::unwrap_used)] // a test may panic
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_names() {
        let limits = "Max cpu time              unlimited            unlimited            seconds\n\
                      Max address space         409600000            unlimited            bytes\n";
        assert_eq!(named(limits, "Max address space"), Some(409_600_000));
        assert_eq!(named(limits, "Max cpu time"), None);
        assert_eq!(named("MemAvailable:   19000 kB\n", "MemAvailable:"), Some(19_000));
    }

    #[test]
    fn the_narrowest_group_counts_and_what_files_take_does_not() {
        let mount = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = mount.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        put("memory.max", "max\n");
        put("a/memory.max", "1000\n");
        put("a/memory.current", "700\n");
        put("a/memory.stat", "anon 400\ninactive_file 200\n");
        put("a/b/memory.max", "5000\n");
        put("a/b/memory.current", "300\n");
        put("memory/c/memory.limit_in_bytes", "80\n");
        put("memory/c/memory.usage_in_bytes", "90\n");
        for (line, left) in [
            ("0::/a/b", Some(500)),
            ("0::/", None),
            ("0::/not/seen", None),
            ("4:cpu,memory:/c", Some(0)),
            ("9:name=systemd:/a", None),
            ("", None),
        ] {
            assert_eq!(group(line, mount.path()), left, "{line}");
        }
    }
}
