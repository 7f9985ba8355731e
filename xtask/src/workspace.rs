//! Where things are in the checkout.

use std::path::{Path, PathBuf};

/// The checkout's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// Every member's folder, relative to the root, in order of name.
pub fn members() -> Vec<PathBuf> {
    let mut members: Vec<PathBuf> = children(&root().join("crates"))
        .into_iter()
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .filter_map(|folder| folder.file_name().map(|name| Path::new("crates").join(name)))
        .collect();
    members.extend(["xtask", "interop", "fuzz"].map(PathBuf::from));
    members
}

/// The `.rs` files below a folder of the root, relative to the root, in order.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in children(&root().join(&folder)) {
            let Some(name) = path.file_name() else { continue };
            let relative = folder.join(name);
            if path.is_dir() && name != "target" {
                folders.push(relative);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(relative);
            }
        }
    }
    found.sort();
    found
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
