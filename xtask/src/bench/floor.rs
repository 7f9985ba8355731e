//! The floor: what a transfer costs with no protocol at all. A sender that knows
//! only `sendfile` (or pread and write), a receiver that knows only recv, SHA-1 and
//! pwrite, on one thread or two.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sha1::{Digest, Sha1};
use starling_interop::client::{Client, Done, Job, Leecher};
use starling_interop::process::{Launch, Process};
use starling_interop::{Program, Result, context};

/// Bytes hashed at once, as a piece would be.
const PIECE: usize = 1 << 20;
/// Pieces between the receiving and the hashing thread.
const PIECES_IN_FLIGHT: usize = 8;

/// A sender and receiver pair that pose as a client.
pub struct Floor {
    /// What it is called in the table.
    pub name: &'static str,
    /// Send by `sendfile` rather than by pread and write.
    pub sendfile: bool,
    /// Receive on one thread, hash and write on another.
    pub two_threads: bool,
}

impl Client for Floor {
    fn program(&self) -> Option<Program> {
        None
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn present(&self) -> bool {
        true
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        let launch = myself(job, "floor-send")?.arg(job.listen.to_string());
        let launch = launch.arg(job.data.join(&job.torrent.name));
        let process = launch.arg(if self.sendfile { "sendfile" } else { "copy" }).spawn()?;
        process.expect_line(Duration::from_secs(10), |line| line == "listening")?;
        Ok(process)
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        let seeder = job.peers.first().ok_or("the floor wants a peer")?;
        let launch = myself(job, "floor-receive")?.arg(seeder.to_string());
        let launch = launch.arg(job.data.join(&job.torrent.name));
        let launch = launch.arg(if self.two_threads { "two" } else { "one" });
        Ok(Leecher::new(None, Done::Exit, |_| launch.spawn()))
    }
}

fn myself(job: &Job, command: &str) -> Result<Launch> {
    let exe = context(std::env::current_exe(), "xtask")?;
    let launch = Launch::new(&exe.to_string_lossy()).home(&job.home).group(job.group);
    Ok(launch.args(["bench", command]))
}

/// `floor-send ADDR FILE sendfile|copy`: sends the file to whoever connects first.
pub fn send(args: &[&str]) -> Result<()> {
    let [addr, path, how] = args else { return Err("floor-send ADDR FILE HOW".into()) };
    let listener = context(TcpListener::bind(addr), addr)?;
    println!("listening");
    let (stream, _) = context(listener.accept(), addr)?;
    let file = context(File::open(path), path)?;
    let sent = if *how == "sendfile" { send_file(&stream, &file) } else { send_copies(&stream, &file) };
    context(sent.and_then(|()| stream.shutdown(Shutdown::Write)), "sending")?;
    // Stays until the receiver is through, so that its end is not a reset.
    context(std::io::copy(&mut &stream, &mut std::io::sink()), "waiting").map(drop)
}

fn send_file(stream: &TcpStream, file: &File) -> std::io::Result<()> {
    while rustix::fs::sendfile(stream, file, None, 1 << 20)? > 0 {}
    Ok(())
}

fn send_copies(mut stream: &TcpStream, file: &File) -> std::io::Result<()> {
    let (mut buffer, mut at) = (vec![0; 256 << 10], 0);
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(()),
            read => {
                stream.write_all(&buffer[..read])?;
                at += read as u64;
            }
        }
    }
}

/// `floor-receive ADDR FILE one|two`: receives, hashes and writes a file.
pub fn receive(args: &[&str]) -> Result<()> {
    let [addr, path, threads] = args else { return Err("floor-receive ADDR FILE THREADS".into()) };
    let stream = context(TcpStream::connect(addr), addr)?;
    let file = context(File::create(path), path)?;
    let received =
        if *threads == "two" { on_two_threads(stream, file) } else { on_one_thread(stream, &file) };
    context(received, "receiving")
}

fn on_one_thread(mut stream: TcpStream, file: &File) -> std::io::Result<()> {
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    loop {
        let length = fill(&mut stream, &mut piece)?;
        if length == 0 {
            return Ok(());
        }
        keep(file, &piece[..length], &mut at)?;
    }
}

fn on_two_threads(mut stream: TcpStream, file: File) -> std::io::Result<()> {
    let (full, to_keep) = channel::<(Vec<u8>, usize)>();
    let (empty, free) = channel();
    for _ in 0..PIECES_IN_FLIGHT {
        let _ = empty.send(vec![0; PIECE]);
    }
    let keeper = std::thread::spawn(move || keep_all(&file, &to_keep, &empty));
    while let Ok(mut piece) = free.recv() {
        let length = fill(&mut stream, &mut piece)?;
        if length == 0 || full.send((piece, length)).is_err() {
            break;
        }
    }
    drop(full);
    keeper.join().map_err(|_| std::io::Error::other("the hashing thread died"))?
}

fn keep_all(
    file: &File,
    to_keep: &Receiver<(Vec<u8>, usize)>,
    empty: &Sender<Vec<u8>>,
) -> std::io::Result<()> {
    let mut at = 0;
    while let Ok((piece, length)) = to_keep.recv() {
        keep(file, &piece[..length], &mut at)?;
        let _ = empty.send(piece);
    }
    Ok(())
}

/// Hashes and writes one piece.
fn keep(file: &File, piece: &[u8], at: &mut u64) -> std::io::Result<()> {
    std::hint::black_box(Sha1::digest(piece));
    file.write_all_at(piece, *at)?;
    *at += piece.len() as u64;
    Ok(())
}

/// Reads until the piece is full or the stream ends.
fn fill(stream: &mut TcpStream, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut at = 0;
    while at < piece.len() {
        match stream.read(&mut piece[at..])? {
            0 => break,
            read => at += read,
        }
    }
    Ok(at)
}
