//! A web server that does one thing.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;

/// What the server answers.
pub enum Answer {
    /// 404.
    NotFound,
    /// 200 with this body.
    Text(&'static str),
    /// The bytes asked for, of which it sends so many and then nothing more.
    Stalls(Vec<u8>, usize),
}

/// Serves on loopback as long as the test runs; where. `answer` is told the bytes asked for, from 0
/// to 0 if it is all of it.
pub fn serve(answer: impl Fn(Range<usize>) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || speak(stream, &*answer));
        }
    });
    addr
}

/// One request, one answer, and then nothing until the client goes.
fn speak(mut stream: TcpStream, answer: &dyn Fn(Range<usize>) -> Answer) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let range = head.iter().find_map(|line| range(line)).unwrap_or(0..0);
    let close = "Connection: close\r\n\r\n";
    let head = match answer(range.clone()) {
        Answer::NotFound => format!("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{close}").into_bytes(),
        Answer::Text(body) => {
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}{body}").into_bytes()
        }
        Answer::Stalls(bytes, sent) => {
            let (from, to, length) = (range.start, range.end - 1, bytes.len());
            let mut all = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\n\
                 Content-Range: bytes {from}-{to}/*\r\n\r\n"
            )
            .into_bytes();
            all.extend(&bytes[..sent.min(length)]);
            let _ = stream.write_all(&all);
            return lines.for_each(drop);
        }
    };
    let _ = stream.write_all(&head);
}

/// `Range: bytes=5-9` is `5..10`.
fn range(line: &str) -> Option<Range<usize>> {
    let (name, value) = line.split_once(": bytes=")?;
    let (from, to) = value.split_once('-')?;
    name.eq_ignore_ascii_case("range").then_some(from.parse().ok()?..to.parse::<usize>().ok()? + 1)
}
