//! A network of a test's own: a namespace in which only loopback is up, with one
//! address for each peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{Launch, Process};
use crate::{Result, context};

/// How many addresses there are: [`Namespace::ip`] 1 to this.
const ADDRESSES: u8 = 24;

/// The namespace that this thread, and every thread and process it starts, is in.
/// It is gone when nothing runs in it any more.
pub struct Namespace {
    _holder: Process,
}

impl Namespace {
    /// Makes a namespace and moves the calling thread into it, for good.
    pub fn enter() -> Result<Namespace> {
        let holder =
            Launch::new("unshare").args(["--net", "sh", "-c", "echo in; exec sleep infinity"]).spawn()?;
        holder.expect_line(Duration::from_secs(10), |line| line == "in")?;
        let path = format!("/proc/{}/ns/net", holder.id());
        let file = context(std::fs::File::open(&path), &path)?;
        let moved = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        context(moved, "entering the namespace")?;
        let namespace = Namespace { _holder: holder };
        namespace.raise_loopback()?;
        Ok(namespace)
    }

    /// The address of peer `n`, from 1.
    pub fn ip(&self, n: u8) -> IpAddr {
        Ipv4Addr::new(10, 77, 0, n).into()
    }

    /// Address and port for the BitTorrent of peer `n`. Ports differ too, since some
    /// programs listen on every address.
    pub fn peer(&self, n: u8) -> SocketAddr {
        SocketAddr::new(self.ip(n), 6880 + u16::from(n))
    }

    /// Address and port for the control interface of peer `n`.
    pub fn control(&self, n: u8) -> SocketAddr {
        SocketAddr::new(self.ip(n), 9090 + u16::from(n))
    }

    fn raise_loopback(&self) -> Result<()> {
        let mut batch = String::from("link set lo up\nlink set lo multicast on\n");
        for n in 1..=ADDRESSES {
            batch.push_str(&format!("address add {}/32 dev lo\n", self.ip(n)));
        }
        batch.push_str("route add 224.0.0.0/4 dev lo\n");
        let mut ip = Command::new("sh");
        let ip = ip.args(["-c", "printf %s \"$0\" | ip -batch -", &batch]);
        let output = context(ip.output(), "ip")?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}
