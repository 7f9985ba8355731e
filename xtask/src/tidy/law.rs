//! The law of dependence, and what a core may not name.
//!
//! `sansio, codecs <- cores <- session <- {disk, net, sim}; {disk, net} <- node <- api <- starling`.
//! `net` and `sim` never meet but in the binary. Codecs and cores use only the few
//! outside crates listed here, none of which does I/O.

use std::path::Path;

use super::source::Source;
use crate::workspace;

/// Outside crates that a codec or core may use.
const PURE_CRATES: [&str; 8] =
    ["bytes", "thiserror", "tracing", "sha1", "sha2", "slab", "smallvec", "unicode-normalization"];

/// Rooms that turn bytes into values, or values into others, and keep no state.
const CODECS: [&str; 4] = ["sansio", "bencode", "lanes", "metainfo"];
/// Rooms that are state machines.
const CORES: [&str; 6] = ["swarm", "utp", "dht", "tracker", "overlay", "session"];

/// Names that betray a clock, a file, a socket, a thread or foreign randomness.
const IMPURE: [&str; 16] = [
    "Instant::now",
    "SystemTime",
    "std::fs",
    "fs::File",
    "File::open",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::io::std",
    "tokio",
    "thread::",
    "std::process",
    "std::env",
    "rand::",
    "getrandom",
    "RandomState",
];

/// Whether the crate in `folder` is a codec or core.
pub fn is_core(folder: &Path) -> bool {
    room(folder).is_some_and(|room| CODECS.contains(&room) || CORES.contains(&room))
}

/// Everything the tree does against the law, one sentence each.
pub fn breaches() -> Vec<String> {
    let rooms = workspace::members();
    let rooms = rooms.iter().filter_map(|folder| Some((folder, room(folder)?)));
    rooms.flat_map(|(folder, room)| breaches_of(folder, room)).collect()
}

fn breaches_of(folder: &Path, room: &str) -> Vec<String> {
    let path = workspace::root().join(folder).join("Cargo.toml");
    let manifest = std::fs::read_to_string(path).unwrap_or_default();
    let mut found = manifest_breaches(room, &manifest);
    if is_core(folder) && !workspace::root().join(folder).join("clippy.toml").exists() {
        found.push(format!("{}: a core needs the cores' clippy.toml (link it)", folder.display()));
    }
    found
}

/// What a room's manifest says against the law.
fn manifest_breaches(room: &str, manifest: &str) -> Vec<String> {
    let Some(allowed) = may_use(room) else {
        return vec![format!("crates/{room}: not a room of the house; add it to xtask's law")];
    };
    let pure = CODECS.contains(&room) || CORES.contains(&room);
    let wrong = dependencies(manifest).into_iter().filter(|name| match name.strip_prefix("starling-") {
        Some(other) => !allowed.contains(&other),
        None => pure && !PURE_CRATES.contains(name),
    });
    wrong.map(|name| format!("crates/{room}/Cargo.toml: may not depend on `{name}`")).collect()
}

/// The rooms that `room` may depend on; `None` if there is no such room.
fn may_use(room: &str) -> Option<Vec<&'static str>> {
    let protocols = ["swarm", "utp", "dht", "tracker", "overlay"];
    let below_drivers = [&CODECS[..], &CORES[..]].concat();
    Some(match room {
        "sansio" | "bencode" | "lanes" => vec![],
        "metainfo" => vec!["bencode", "lanes"],
        "dht" => [&CODECS[..], &["overlay"]].concat(),
        "swarm" | "utp" | "tracker" | "overlay" => CODECS.to_vec(),
        "session" => [&CODECS[..], &protocols].concat(),
        "disk" | "net" | "sim" => below_drivers,
        "node" => [&below_drivers[..], &["disk", "net"]].concat(),
        "api" => [&below_drivers[..], &["disk", "net", "node"]].concat(),
        "starling" => [&below_drivers[..], &["disk", "net", "sim", "node", "api"]].concat(),
        _ => return None,
    })
}

/// Names in the `[dependencies]` tables, also those for one platform.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside =
                table == "dependencies" || (table.starts_with("target.") && table.ends_with(".dependencies"));
            names.extend(table.strip_prefix("dependencies."));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            names.extend(line.split(['.', '=', ' ']).next());
        }
    }
    names
}

/// The lines of a core, outside tests, that name something impure.
pub fn impurities(source: &Source) -> Vec<usize> {
    let maps_are_watched = source.raw.iter().any(|line| line.contains("clippy::disallowed_types"));
    let lines = source.code.iter().enumerate().filter(|(number, _)| !source.is_test(*number));
    let impure = lines.filter(|(_, line)| {
        let unordered = line.contains("HashMap") || line.contains("HashSet");
        IMPURE.iter().any(|name| line.contains(name)) || (unordered && !maps_are_watched)
    });
    impure.map(|(number, _)| number).collect()
}

fn room(folder: &Path) -> Option<&str> {
    folder.strip_prefix("crates").ok()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_names_a_driver_or_runtime_is_caught() {
        let manifest = "[dependencies]\nstarling-disk.workspace = true\ntokio = \"1\"\nbytes.workspace = true\n\
                        [target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n[dev-dependencies]\nproptest = \"1\"\n";
        let found = manifest_breaches("swarm", manifest);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].contains("starling-disk") && found[1].contains("tokio") && found[2].contains("libc")
        );
        assert_eq!(manifest_breaches("node", manifest), [] as [&str; 0]);
    }

    #[test]
    fn dependence_points_one_way() {
        let with = |name: &str| format!("[dependencies]\nstarling-{name}.workspace = true\n");
        for (room, other) in
            [("net", "disk"), ("sim", "net"), ("disk", "node"), ("session", "net"), ("bencode", "metainfo")]
        {
            assert_eq!(manifest_breaches(room, &with(other)).len(), 1, "{room} on {other}");
        }
        assert_eq!(manifest_breaches("starling", &with("node")), [] as [&str; 0]);
        assert_eq!(manifest_breaches("attic", "").len(), 1);
    }

    #[test]
    fn a_clock_in_a_core_is_caught_but_not_in_its_tests() {
        let text = "// Instant::now\nfn a() { Instant::now(); }\n#[cfg(test)]\nmod t {\n  fn b() { Instant::now(); }\n}\n";
        assert_eq!(impurities(&Source::new(text, false)), [1]);
        assert_eq!(impurities(&Source::new("use std::collections::HashMap;\n", false)), [0]);
    }
}
