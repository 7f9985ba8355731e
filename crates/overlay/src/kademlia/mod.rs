//! Kademlia.
