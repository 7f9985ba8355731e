//! Just enough HTTP to talk to a local daemon or tracker: one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::{Result, context};

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body; chunks are not put together.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    }
}

/// GET.
pub fn get(addr: SocketAddr, target: &str) -> Result<Response> {
    exchange(addr, &format!("GET {target} HTTP/1.0\r\nHost: {addr}\r\n\r\n"), &[])
}

/// POST with further header lines, each ending in CR LF.
pub fn post(addr: SocketAddr, target: &str, headers: &str, body: &[u8]) -> Result<Response> {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.0\r\nHost: {addr}\r\n{headers}Content-Length: {length}\r\n\r\n");
    exchange(addr, &head, body)
}

fn exchange(addr: SocketAddr, head: &str, body: &[u8]) -> Result<Response> {
    let answer = exchange_bytes(addr, head, body);
    let answer = context(answer, &format!("http://{addr}"))?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no end of the head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok(Response { status, head, body: answer[end + 4..].to_vec() })
}

fn exchange_bytes(addr: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 16 << 10]);
    while !is_whole(&answer) {
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend(&chunk[..read]),
        }
    }
    Ok(answer)
}

/// Whether everything that the head promises is there: some servers keep the
/// connection open all the same.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length
        .and_then(|length| length.trim().parse().ok())
        .is_some_and(|length: usize| answer.len() >= end + 4 + length)
}

/// Tries until something answers at all: `process`, whose end is the end of waiting.
pub fn await_answer(
    process: &mut Process,
    addr: SocketAddr,
    target: &str,
    patience: Duration,
) -> Result<Response> {
    let deadline = Instant::now() + patience;
    loop {
        match get(addr, target) {
            Ok(answer) => return Ok(answer),
            Err(_) if !process.is_running() => return Err(process.complaint("ended too early")),
            Err(error) if deadline <= Instant::now() => return Err(process.complaint(&error.to_string())),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Launch;

    #[test]
    fn a_program_that_has_ended_is_not_waited_for() {
        let mut process = Launch::new("false").spawn().unwrap();
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let error = await_answer(&mut process, nobody, "/", Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("ended too early (exit status: 1)"), "{error}");
    }
}
