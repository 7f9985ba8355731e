//! Ctrl-C, SIGTERM and SIGHUP: the first asks everything to come to a clean end, the second ends
//! the program at once. A thread of its own listens, so that neither waits for a disk.

use std::sync::OnceLock;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What an interrupted program exits with.
pub const CODE: u8 = 130;

static ASKED: OnceLock<watch::Receiver<bool>> = OnceLock::new();

/// The work ended because somebody interrupted it.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Starts to listen, and does so when this returns. Without this, or if the system refuses,
/// signals end the program as ever.
pub fn listen() {
    let (ask, asked) = watch::channel(false);
    let (ready, listening) = std::sync::mpsc::channel();
    let listener = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(serve(&ask, ready));
    };
    if std::thread::Builder::new().name("starling-signals".into()).spawn(listener).is_ok() {
        let _ = ASKED.set(asked);
        let _ = listening.recv(); // an error: the thread ended without listening
    }
}

async fn serve(ask: &watch::Sender<bool>, ready: std::sync::mpsc::Sender<()>) {
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        drop(ready);
        return ask.closed().await;
    };
    // To listen would undo nohup.
    let mut hup = if hangup_is_ignored() { None } else { signal(SignalKind::hangup()).ok() };
    let _ = ready.send(());
    any(&mut int, &mut term, &mut hup).await;
    let _ = ask.send(true);
    any(&mut int, &mut term, &mut hup).await;
    std::process::exit(i32::from(CODE));
}

async fn any(int: &mut Signal, term: &mut Signal, hup: &mut Option<Signal>) {
    let hangup = async {
        match hup {
            Some(hup) => hup.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hangup => {} }
}

/// Whether who started the program wants it to outlive the terminal. Where nobody can tell
/// it is taken for granted, and the signal does what it ever did.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 == 1) // SIGHUP is number 1
}

/// Whether somebody interrupted.
pub fn is_asked() -> bool {
    ASKED.get().is_some_and(|asked| *asked.borrow())
}

/// Resolves when somebody interrupts.
pub async fn asked() {
    if let Some(mut asked) = ASKED.get().cloned()
        && asked.wait_for(|asked| *asked).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// `work`, unless somebody interrupts.
pub async fn unless<T>(work: impl Future<Output = T>) -> Result<T, Interrupted> {
    tokio::select! {
        done = work => Ok(done),
        () = asked() => Err(Interrupted),
    }
}
