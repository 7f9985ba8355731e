//! Exact processor time of a process and all its threads and children, counted by
//! the kernel in a control group (version 1 `cpuacct`, or version 2).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::{Result, context};

const VERSION_1: &str = "/sys/fs/cgroup/cpuacct";
const VERSION_2: &str = "/sys/fs/cgroup";

/// A control group of our own; removed when dropped, once its processes are gone.
pub struct CpuGroup {
    folder: PathBuf,
}

impl CpuGroup {
    /// Makes a group, as root.
    pub fn new() -> Result<CpuGroup> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let parent = if Path::new(VERSION_1).is_dir() { VERSION_1 } else { VERSION_2 };
        let folder = Path::new(parent).join(format!("starling-{}-{number}", std::process::id()));
        context(std::fs::create_dir(&folder), &folder.display().to_string())?;
        Ok(CpuGroup { folder })
    }

    /// Processor time that its processes have used.
    pub fn used(&self) -> Result<Duration> {
        if let Ok(text) = std::fs::read_to_string(self.folder.join("cpuacct.usage")) {
            return context(text.trim().parse().map(Duration::from_nanos), "cpuacct.usage");
        }
        let text = context(std::fs::read_to_string(self.folder.join("cpu.stat")), "cpu.stat")?;
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        context(micros.unwrap_or_default().trim().parse().map(Duration::from_micros), "cpu.stat")
    }

    /// Whoever writes 0 to this file is in the group.
    pub(crate) fn processes_file(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for CpuGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}
