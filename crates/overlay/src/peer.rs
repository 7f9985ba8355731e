//! How a node names others.

use std::fmt::Debug;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Id;
use crate::wire::{Malformed, Reader, Wire, Writer};

/// How a driver names a peer. Equal names are the same peer; the order is arbitrary
/// but fixed. A name is small and `Copy`, since tables are made of it.
pub trait Peer: Copy + Eq + Ord + Hash + Debug + Wire {}

impl<T: Copy + Eq + Ord + Hash + Debug + Wire> Peer for T {}

/// A peer on real sockets: its UDP address, and which of the nodes there it is
/// (Chord's virtual nodes share an address; the first is number 0).
///
/// Its id is the SHA-1 of the three (Chord, section IV: the hash of the address), so
/// that no peer can say where it stands, only from where it speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Contact {
    addr: SocketAddr,
    virtual_node: u8,
    id: Id,
}

impl Contact {
    /// Node number `virtual_node` at `addr`.
    pub fn new(addr: SocketAddr, virtual_node: u8) -> Contact {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let mut bytes = Vec::with_capacity(20);
        put_address(&mut bytes, addr, virtual_node);
        Contact { addr, virtual_node, id: Id::hash(&bytes) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Which of the nodes at its address.
    pub fn virtual_node(&self) -> u8 {
        self.virtual_node
    }

    /// Its place in the id space of 160 bits.
    pub fn id(&self) -> Id {
        self.id
    }
}

/// 4 or 6, the address, the port, the number of the virtual node.
fn put_address(out: &mut impl Writer, addr: SocketAddr, virtual_node: u8) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            out.put(&[4]);
            out.put(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put(&[6]);
            out.put(&ip.octets());
        }
    }
    out.put(&addr.port().to_be_bytes());
    out.put(&[virtual_node]);
}

impl Wire for Contact {
    fn encode(&self, out: &mut impl Writer) {
        put_address(out, self.addr, self.virtual_node);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Contact, Malformed> {
        let ip = match u8::decode(input)? {
            4 => IpAddr::V4(Ipv4Addr::from(input.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(input.array::<16>()?)),
            other => return Err(Malformed::Unknown(u64::from(other))),
        };
        let port = u16::decode(input)?;
        Ok(Contact::new(SocketAddr::new(ip, port), u8::decode(input)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_comes_back_with_its_id() {
        for text in ["10.0.0.1:6881", "[2001:db8::1]:1"] {
            let contact = Contact::new(text.parse().unwrap(), 3);
            assert_eq!(Contact::from_wire(&contact.to_wire()), Ok(contact));
            assert_eq!(contact.id(), Id::hash(&contact.to_wire()));
        }
        let mapped = Contact::new("[::ffff:10.0.0.1]:6881".parse().unwrap(), 3);
        assert_eq!(mapped, Contact::new("10.0.0.1:6881".parse().unwrap(), 3));
    }
}
