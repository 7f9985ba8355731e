//! Processes that die with the thread that started them, and whose lines are events.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::cgroup::CpuGroup;
use crate::{Result, context};

/// A command not yet started.
pub struct Launch {
    program: String,
    args: Vec<OsString>,
    home: Option<PathBuf>,
    group: Option<PathBuf>,
}

/// A running process. Dropping it kills it.
pub struct Process {
    name: String,
    child: RefCell<Child>,
    lines: Receiver<String>,
    last: RefCell<VecDeque<String>>,
    stderr: Option<PathBuf>,
}

/// As many of its lines are kept for a complaint.
const LAST_LINES: usize = 12;

impl Launch {
    /// A command by name.
    pub fn new(program: &str) -> Launch {
        Launch { program: program.to_owned(), args: Vec::new(), home: None, group: None }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Launch {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Launch {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Its home and current folder, where its standard error is kept too.
    pub fn home(mut self, home: &Path) -> Launch {
        self.home = Some(home.to_path_buf());
        self
    }

    /// Counts its processor time in this group, from its first instruction on.
    pub fn group(mut self, group: Option<&CpuGroup>) -> Launch {
        self.group = group.map(CpuGroup::processes_file);
        self
    }

    /// Starts it.
    pub fn spawn(self) -> Result<Process> {
        let mut command = self.command();
        let stderr = self.home.as_ref().map(|home| home.join(format!("{}.stderr", self.short_name())));
        match &stderr {
            Some(path) => command.stderr(context(File::create(path), &path.display().to_string())?),
            None => command.stderr(Stdio::inherit()),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = context(command.spawn(), &self.program)?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            forward_lines(stdout, sender);
        }
        Ok(Process {
            name: self.short_name(),
            child: RefCell::new(child),
            lines,
            last: RefCell::default(),
            stderr,
        })
    }

    /// `setpriv` makes the kernel kill the process when this thread ends; `sh` puts
    /// it into its group. Both become the program itself, so the process id is its.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sh", "-c"]);
        match &self.group {
            Some(file) => command.arg("echo 0 > \"$0\" && exec \"$@\"").arg(file),
            None => command.args(["exec \"$@\"", "sh"]),
        };
        command.arg(&self.program).args(&self.args);
        if let Some(home) = &self.home {
            command.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config")).current_dir(home);
        }
        command
    }

    fn short_name(&self) -> String {
        Path::new(&self.program).file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Waits for a line on its standard output that `matches`; a line that begins with
    /// "error" ends the waiting.
    pub fn expect_line(&self, patience: Duration, matches: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if matches(&line) => return Ok(line),
                Ok(line) => {
                    let failed = line.starts_with("error ");
                    self.remember(line);
                    if failed {
                        return Err(self.complaint("failed"));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.complaint("did not say what was awaited")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.complaint("ended too early")),
            }
        }
    }

    /// Waits until it closes its standard output, then for its exit; an error unless
    /// it succeeded.
    pub fn expect_success(&mut self, patience: Duration) -> Result<()> {
        match self.wait_exit(patience)? {
            Some(0) => Ok(()),
            Some(code) => Err(self.complaint(&format!("exited with {code}"))),
            None => Err(self.complaint("was killed")),
        }
    }

    /// Waits for its exit; its code, or `None` if a signal ended it.
    pub fn wait_exit(&mut self, patience: Duration) -> Result<Option<i32>> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.remember(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.complaint("is still running")),
            }
        }
        Ok(context(self.child.get_mut().wait(), &self.name)?.code())
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let Some(stdin) = self.child.get_mut().stdin.as_mut() else {
            return Err(self.complaint("has no standard input"));
        };
        context(writeln!(stdin, "{line}").and_then(|()| stdin.flush()), &self.name)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.get_mut().try_wait(), Ok(None))
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn interrupt(&self) -> Result<()> {
        let pid = i32::try_from(self.id()).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid else { return Err(self.complaint("has no process id")) };
        context(rustix::process::kill_process(pid, rustix::process::Signal::INT), &self.name)
    }

    /// What it wrote to standard error, if that was kept.
    pub fn errors(&self) -> String {
        self.stderr.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    }

    /// A sentence about this process, with how it ended, if it has, and the end of what it
    /// complained of itself.
    pub fn complaint(&self, what: &str) -> String {
        let errors = self.errors();
        let tail: Vec<&str> = errors.lines().rev().take(LAST_LINES).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let said: Vec<String> = self.last.borrow().iter().cloned().collect();
        let ended = self.child.borrow_mut().try_wait().ok().flatten();
        let ended = ended.map(|status| format!(" ({status})")).unwrap_or_default();
        let (said, tail) = (said.join("\n"), tail.join("\n"));
        format!("{} {what}{ended}\nit said:\n{said}\nits errors:\n{tail}", self.name)
    }

    fn remember(&self, line: String) {
        let mut last = self.last.borrow_mut();
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn forward_lines(from: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(std::result::Result::ok);
        for line in lines {
            if to.send(line).is_err() {
                return; // nobody listens; the process is about to be killed
            }
        }
    });
}
