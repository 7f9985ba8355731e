//! Installs the real programs of the interop tests, by Debian's own client.

use std::process::{Command, Stdio};

use starling_interop::Program;

/// Installs what is missing; says what it could not get.
pub fn missing_programs() -> Result<(), String> {
    let missing: Vec<Program> = Program::TESTED.into_iter().filter(|program| !program.present()).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|program| program.packages()).copied().collect();
    if packages.is_empty() {
        return Ok(());
    }
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], &packages[..]].concat())?;
    let still: Vec<&str> = missing.iter().filter(|p| !p.present()).map(|p| p.name()).collect();
    if still.is_empty() { Ok(()) } else { Err(format!("installed, yet not usable: {}", still.join(", "))) }
}

fn apt_get(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    // RUNLEVEL=1: installed, not started. No question is ever asked.
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdin(Stdio::null());
    let status = command.status().map_err(|e| format!("apt-get: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("apt-get {} failed", args.join(" "))) }
}
