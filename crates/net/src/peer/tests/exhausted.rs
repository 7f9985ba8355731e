//! No descriptors left: in a process of its own, whose limit is lowered.

use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::time::{Duration, timeout};

use super::*;

const CHILD: &str = "STARLING_NET_TEST_WITHOUT_DESCRIPTORS";

#[test]
fn accept_survives_the_want_of_descriptors() {
    let name = "peer::tests::exhausted::in_a_process_of_its_own";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args([name, "--exact"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn in_a_process_of_its_own() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    local(async {
        let mut end = End::new(Limits::DEFAULT);
        let before = stranger(&end).await;
        end.greeted().await;
        setrlimit(Resource::Nofile, Rlimit { current: Some(40), maximum: Some(40) }).unwrap();
        let mut hoard = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
        }
        hoard.pop(); // for the caller's own end
        let mut turned_away = TcpStream::connect(end.addr).await.unwrap();
        let closed = timeout(Duration::from_secs(20), turned_away.read(&mut [0; 1])).await;
        assert_eq!(closed.expect("the caller hears of it").unwrap_or(0), 0);
        drop(turned_away);
        hoard.clear();
        let after = stranger(&end).await;
        end.greeted().await;
        assert_eq!(end.peers.open(), 2);
        drop((before, after));
    })
    .await;
}
