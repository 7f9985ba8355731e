//! Parameters of a Napster network.

use std::time::Duration;

use super::IndexLimits;

/// What a node is when it joins through another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A client that never serves.
    Client,
    /// A server.
    Server,
    /// A client that becomes a server when asked.
    Willing,
}

/// Parameters, the same for all nodes unless their operators differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What a node is when it joins through another.
    pub role: Role,
    /// Servers that there should be, at most [`super::MAX_SERVERS`].
    pub servers: u32,
    /// What only servers know; zero keeps nobody out.
    pub token: u64,
    /// How often a client says that it is there.
    pub heartbeat_interval: Duration,
    /// Without a word for so long, a client is gone.
    pub client_timeout: Duration,
    /// How often servers tell each other how far they are.
    pub beat_interval: Duration,
    /// Without a beat for so long, a server is gone.
    pub server_timeout: Duration,
    /// How long an answer is awaited.
    pub rpc_timeout: Duration,
    /// Questions without an answer, one after another, after which a server is gone.
    pub tries: u8,
    /// How long a client without a server waits before it looks for one again.
    pub retry_interval: Duration,
    /// After so long an operation fails.
    pub op_timeout: Duration,
    /// Most clients of one server.
    pub max_clients: usize,
    /// Questions a second that a server answers a client in the long run.
    pub requests_per_second: u32,
    /// Questions that it answers at once.
    pub burst: u32,
    /// Bounds of the index.
    pub limits: IndexLimits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            role: Role::Willing,
            servers: 3,
            token: 0,
            heartbeat_interval: Duration::from_secs(30),
            client_timeout: Duration::from_secs(100),
            beat_interval: Duration::from_secs(2),
            server_timeout: Duration::from_secs(11),
            rpc_timeout: Duration::from_millis(1500),
            tries: 4,
            retry_interval: Duration::from_secs(10),
            op_timeout: Duration::from_secs(30),
            max_clients: 1 << 20,
            requests_per_second: 20,
            burst: 200,
            limits: IndexLimits::default(),
        }
    }
}
