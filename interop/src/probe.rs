//! Whether a seeder is up: a handshake must bring a bitfield in which every piece is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;

/// Pause between tries while nothing listens yet; there is no event to await.
const RETRY: Duration = Duration::from_millis(20);

/// Connects until the peer at `addr` shows that it has the whole torrent. What has ended, as
/// `is_running` tells, is not waited for.
pub fn await_seeder(
    addr: SocketAddr,
    info_hash: [u8; 20],
    patience: Duration,
    mut is_running: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match has_everything(addr, info_hash) {
            Ok(true) => return Ok(()),
            Ok(false) | Err(_) if !is_running() => return Err("ended before it was up".to_owned()),
            Ok(false) | Err(_) if Instant::now() < deadline => std::thread::sleep(RETRY),
            Ok(false) => return Err(format!("{addr} does not have every piece after {patience:?}")),
            Err(e) => return Err(format!("{addr} is not up after {patience:?}: {e}")),
        }
    }
}

/// One try: handshake, then its messages until one tells what it has.
fn has_everything(addr: SocketAddr, info_hash: [u8; 20]) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(&handshake(info_hash))?;
    let mut theirs = [0; 68];
    stream.read_exact(&mut theirs)?;
    loop {
        let message = read_message(&mut stream)?;
        match message.split_first() {
            Some((5, bits)) => return Ok(is_full(bits)),
            Some((14, _)) => return Ok(true),
            Some((15, _)) => return Ok(false),
            _ => {}
        }
    }
}

/// BEP 3 with the fast extension (BEP 6), so that `have all` is understood.
fn handshake(info_hash: [u8; 20]) -> Vec<u8> {
    let mut out = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\x04".to_vec();
    out.extend(info_hash);
    out.extend(b"-PR0001-");
    out.extend(std::process::id().to_be_bytes());
    out.extend(Instant::now().elapsed().as_nanos().to_be_bytes().iter().rev().take(8));
    out
}

fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > 1 << 20 {
        return Err(std::io::Error::other("a message of more than 1 MiB"));
    }
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// All bits set, but for the spare ones at the end.
fn is_full(bits: &[u8]) -> bool {
    let Some((last, whole)) = bits.split_last() else { return false };
    whole.iter().all(|byte| *byte == 0xff) && last.leading_ones() + last.trailing_zeros() >= 8 && *last != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Launch;

    /// The patience is for what may still come, not for a program that is not there.
    #[test]
    fn a_program_that_cannot_be_started_is_not_waited_for() {
        let mut process = Launch::new("/no/such/program").spawn().expect("the shell that starts it is there");
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let told = await_seeder(nobody, [0; 20], Duration::from_secs(3600), || process.is_running());
        assert_eq!(told.expect_err("nobody is there"), "ended before it was up");
    }

    #[test]
    fn a_full_bitfield_may_end_in_spare_bits() {
        assert!(is_full(&[0xff]) && is_full(&[0xff, 0x80]) && is_full(&[0xff, 0xfe]));
        assert!(!is_full(&[0xfe, 0xff]) && !is_full(&[0xff, 0x40]) && !is_full(&[0x00]) && !is_full(&[]));
    }
}
