//! Names from a torrent, made safe to create below a folder on any platform.
//!
//! A component that comes out of [`component`] has no separator, control or
//! text-direction character, is not `.`, `..`, empty, a drive or a name that Windows
//! keeps for devices, does not end in a dot or space and fits 255 bytes.
//! [`distinct`] does this for all paths of a torrent and tells them apart where they
//! would meet on a file system that folds case or Unicode forms. Both depend on
//! nothing but their input, so a torrent has the same names on every machine.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

/// Bytes a component may have on the file systems in use.
pub const MAX_COMPONENT: usize = 255;
/// A longer "extension" is taken as part of the name when a name is cut.
const MAX_EXTENSION: usize = 20;

/// `raw` as a safe component; bytes that are no UTF-8 become U+FFFD.
pub fn component(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let clean: String = text.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    finish(&clean, "")
}

/// Whether a file of exactly this name can lie in a folder here.
pub fn is_plain(raw: &[u8]) -> bool {
    let special = raw.is_empty() || raw == b"." || raw == b"..";
    !special && raw.len() <= MAX_COMPONENT && !raw.contains(&b'/') && !raw.contains(&0)
}

/// Safe and distinct paths for `paths`, in the same order. Folders whose names fold to
/// the same are one folder; a file that would meet a file or folder gets a number.
pub fn distinct<'a>(paths: impl IntoIterator<Item = &'a [&'a [u8]]>) -> Vec<Vec<String>> {
    let mut taken = Taken::default();
    paths.into_iter().map(|path| taken.path(path)).collect()
}

fn is_allowed(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
        && !is_invisible_mark(c)
}

/// Marks that change the direction or break the line of the text around them:
/// a name with them reads as another than it is.
fn is_invisible_mark(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Puts `suffix` before the extension of `clean`, cuts it to size and settles the
/// rules about the whole of a name.
fn finish(clean: &str, suffix: &str) -> String {
    let clean = clean.trim_end_matches(['.', ' ']);
    let (stem, extension) = split_extension(clean);
    let room = MAX_COMPONENT.saturating_sub(extension.len() + suffix.len() + 1);
    let stem = &stem[..floor_char_boundary(stem, room)];
    let reserved = if is_reserved(clean) || clean.is_empty() { "_" } else { "" };
    let name = format!("{reserved}{stem}{suffix}{extension}");
    if name.ends_with(['.', ' ']) { format!("{}_", name.trim_end_matches(['.', ' '])) } else { name }
}

/// `a.tar` and `.gz`; the second is empty if there is none worth keeping.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// Names that Windows keeps for devices, with whatever extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let digit = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    digit.is_some_and(|d| matches!(d, "¹" | "²" | "³") || (d.len() == 1 && d.as_bytes()[0].is_ascii_digit()))
}

/// What names have in common that some file system takes for one: letter case,
/// composed and decomposed forms, invisible characters.
fn fold(name: &str) -> String {
    let upper: String = name.nfkd().flat_map(char::to_uppercase).collect();
    let lower: String = upper.chars().flat_map(char::to_lowercase).collect();
    lower.nfkd().filter(|c| !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}')).collect()
}

/// The folders and files named so far. Folder 0 is the torrent's own.
#[derive(Default)]
struct Taken {
    /// By folder and folded name as the torrent wrote it: number and name as given.
    folders: BTreeMap<(usize, String), (usize, String)>,
    /// By folder: every folded name given.
    names: BTreeSet<(usize, String)>,
    /// By folder and folded name: the last number used as a suffix.
    numbers: BTreeMap<(usize, String), u32>,
}

impl Taken {
    fn path(&mut self, raw: &[&[u8]]) -> Vec<String> {
        let (file, folders): (&[u8], _) = raw.split_last().map_or((b"", &[][..]), |(f, rest)| (*f, rest));
        let mut at = 0;
        let mut path = Vec::with_capacity(raw.len());
        for folder in folders {
            let (next, name) = self.folder(at, component(folder));
            at = next;
            path.push(name);
        }
        path.push(self.claim(at, &component(file)));
        path
    }

    fn folder(&mut self, parent: usize, wanted: String) -> (usize, String) {
        let key = (parent, fold(&wanted));
        if let Some(known) = self.folders.get(&key) {
            return known.clone();
        }
        let given = (self.folders.len() + 1, self.claim(parent, &wanted));
        self.folders.insert(key, given.clone());
        given
    }

    /// `wanted`, with a number if something in that folder has the name.
    fn claim(&mut self, folder: usize, wanted: &str) -> String {
        let key = (folder, fold(wanted));
        if self.names.insert(key.clone()) {
            return wanted.to_owned();
        }
        let mut number = self.numbers.get(&key).copied().unwrap_or(1);
        loop {
            number += 1;
            let name = finish(wanted, &format!(" ({number})"));
            if self.names.insert((folder, fold(&name))) {
                self.numbers.insert(key, number);
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(paths: &[&str]) -> Vec<String> {
        let raw: Vec<Vec<&[u8]>> = paths.iter().map(|p| p.split('/').map(str::as_bytes).collect()).collect();
        distinct(raw.iter().map(Vec::as_slice)).iter().map(|p| p.join("/")).collect()
    }

    #[test]
    fn hostile_components_become_harmless() {
        let cases = [
            ("", "_"),
            (".", "_"),
            ("..", "_"),
            ("...", "_"),
            (" ", "_"),
            ("/etc/passwd", "_etc_passwd"),
            ("a\0b", "a_b"),
            ("C:", "C_"),
            ("C:\\x", "C__x"),
            ("nul", "_nul"),
            ("Con.txt", "_Con.txt"),
            ("com1", "_com1"),
            ("com10", "com10"),
            ("LPT³.x", "_LPT³.x"),
            ("aux .c", "_aux .c"),
            ("a. .", "a"),
            ("file\u{202e}gpj.exe", "file_gpj.exe"),
            ("a\nb", "a_b"),
            (".hidden", ".hidden"),
            ("日本語.txt", "日本語.txt"),
            ("a*?<>|\"", "a______"),
        ];
        for (raw, safe) in cases {
            assert_eq!(component(raw.as_bytes()), safe, "{raw:?}");
        }
        assert_eq!(component(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn long_names_keep_their_extension() {
        let name = component(format!("{}.tar.gz", "é".repeat(200)).as_bytes());
        assert!(name.len() <= MAX_COMPONENT && name.len() > 250 && name.ends_with("é.gz"), "{name}");
        let no_extension = component(&[b'x'; 1000]);
        assert!((250..=MAX_COMPONENT).contains(&no_extension.len()));
    }

    #[test]
    fn names_that_would_meet_get_numbers() {
        assert_eq!(all(&["a.txt", "A.txt", "a.TXT"]), ["a.txt", "A (2).txt", "a (3).TXT"]);
        assert_eq!(all(&["é", "e\u{301}"]), ["é", "e\u{301} (2)"]);
        assert_eq!(all(&["a", "a (2)", "a"]), ["a", "a (2)", "a (3)"]);
        assert_eq!(all(&["../x", "./x", "_/x"]), ["_/x", "_/x (2)", "_/x (3)"]);
        assert_eq!(all(&["straße", "STRASSE"]), ["straße", "STRASSE (2)"]);
    }

    #[test]
    fn a_file_never_stands_where_a_folder_is() {
        assert_eq!(all(&["a", "a/b", "A/c"]), ["a", "a (2)/b", "a (2)/c"]);
        assert_eq!(all(&["a/b", "a", "a/c"]), ["a/b", "a (2)", "a/c"]);
        assert_eq!(all(&["Dir/x", "dir/y", "dir/X"]), ["Dir/x", "Dir/y", "Dir/X (2)"]);
    }

    #[test]
    fn many_equal_names_do_not_take_quadratic_time() {
        let paths = vec!["same"; 50_000];
        assert_eq!(all(&paths).last().unwrap(), "same (50000)");
    }

    fn awkward() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            "[a-cA-C. ~()/:2é\u{301}\u{202e}]{0,4}".prop_map(String::into_bytes),
            "(con|COM1|nul)[. ]{0,2}[a-b]{0,2}".prop_map(String::into_bytes),
            "[a.é ]{250,270}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn every_component_is_safe_and_stays_as_it_is(raw in awkward()) {
            let name = component(&raw);
            prop_assert!(!name.is_empty() && name.len() <= MAX_COMPONENT);
            prop_assert!(name.chars().all(is_allowed));
            prop_assert!(!name.ends_with(['.', ' ']) && !is_reserved(&name));
            prop_assert_eq!(component(name.as_bytes()), name);
        }

        #[test]
        fn no_two_paths_meet(raw in prop::collection::vec(prop::collection::vec(awkward(), 1..4), 0..12)) {
            let raw: Vec<Vec<&[u8]>> = raw.iter().map(|p| p.iter().map(Vec::as_slice).collect()).collect();
            let paths = distinct(raw.iter().map(Vec::as_slice));
            let folded: Vec<Vec<String>> = paths.iter().map(|p| p.iter().map(|c| fold(c)).collect()).collect();
            for (i, a) in folded.iter().enumerate() {
                prop_assert_eq!(a.len(), raw[i].len());
                for c in &paths[i] {
                    prop_assert_eq!(&component(c.as_bytes()), c);
                }
                for (j, b) in folded.iter().enumerate() {
                    prop_assert!(i == j || !b.starts_with(a), "{:?}", paths);
                }
            }
        }
    }
}
