//! A hook that a program runs when it is done, as an event.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{Result, context};

/// A script that writes into a pipe, and our end of the pipe.
pub struct Signal {
    script: PathBuf,
    writer: File,
    lines: Receiver<()>,
}

impl Signal {
    /// Makes script and pipe in `folder`.
    pub fn new(folder: &Path) -> Result<Signal> {
        let (script, pipe) = (folder.join("done.sh"), folder.join("done.pipe"));
        let mode = Mode::RUSR | Mode::WUSR;
        context(mknodat(CWD, &pipe, FileType::Fifo, mode, 0), &pipe.display().to_string())?;
        super::write(&script, &format!("#!/bin/sh\necho done >'{}'\n", pipe.display()))?;
        context(std::fs::set_permissions(&script, Permissions::from_mode(0o755)), "done.sh")?;
        // Opened for both, it neither waits for a writer nor ends with one.
        let writer = context(OpenOptions::new().read(true).write(true).open(&pipe), "done.pipe")?;
        let reader = context(writer.try_clone(), "done.pipe")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map_while(std::result::Result::ok);
            lines.take_while(|line| line == "done").try_for_each(|_| sender.send(())).ok();
        });
        Ok(Signal { script, writer, lines })
    }

    /// What the program is to run.
    pub fn script(&self) -> String {
        self.script.display().to_string()
    }

    /// Waits until it has run it.
    pub fn wait(&self, patience: Duration) -> Result<()> {
        self.lines.recv_timeout(patience).map_err(|_| format!("was not done within {patience:?}"))
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        let _ = self.writer.write_all(b"end\n"); // ends the reading thread
    }
}
