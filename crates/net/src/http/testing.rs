//! An HTTP server for tests, which says exactly what it is told to.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// What the server does after a request.
pub(crate) enum Reply {
    /// Sends these bytes and waits for the next request.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    Cut(Vec<u8>),
    /// Says nothing and keeps the connection.
    Silence,
}

/// A server on loopback, and the heads of the requests it got.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Rc<RefCell<Vec<String>>>,
    pub(crate) connections: Rc<RefCell<usize>>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&str) -> Reply + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (requests, connections) = (Rc::new(RefCell::default()), Rc::new(RefCell::new(0)));
        let (seen, count, answer) = (Rc::clone(&requests), Rc::clone(&connections), Rc::new(answer));
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.borrow_mut() += 1;
                spawn_local(serve(stream, seen.clone(), answer.clone()));
            }
        });
        Server { addr, requests, connections }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.addr)
    }
}

async fn serve(mut stream: TcpStream, seen: Rc<RefCell<Vec<String>>>, answer: Rc<impl Fn(&str) -> Reply>) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let request = String::from_utf8(std::mem::take(&mut head)).unwrap();
        seen.borrow_mut().push(request.clone());
        match answer(&request) {
            Reply::Send(bytes) => drop(stream.write_all(&bytes).await),
            Reply::Cut(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Silence => {}
        }
    }
}

/// An answer with this status line, these header lines and a body of known length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}
