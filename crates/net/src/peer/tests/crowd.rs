//! Many callers in one moment.

use std::io::Write;

use socket2::{Domain, Socket, Type};

use super::*;

/// Fewer than the kernel holds for us, more than may be half open.
const CALLERS: u8 = 120;

/// From an address of its own, with the handshake on its way.
fn call(n: u8, to: SocketAddr) -> std::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 1, 0, n + 1], 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    stream.write_all(&handshake().encode()).unwrap();
    stream
}

/// Who has said its handshake is not half open, however many came before anything was read.
#[tokio::test]
async fn who_greets_at_once_is_let_in_however_many_come() {
    const { assert!(CALLERS as usize > Limits::DEFAULT.half_open_max) };
    local(async {
        let mut end = End::new(Limits::DEFAULT);
        // Nothing of the node runs before all have called.
        let callers: Vec<_> = (0..CALLERS).map(|n| call(n, end.addr)).collect();
        let greeted = async {
            for _ in 0..CALLERS {
                end.greeted().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), greeted).await.expect("all are let in");
        assert_eq!(end.peers.open(), callers.len());
    })
    .await;
}
