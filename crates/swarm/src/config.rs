//! What a torrent may be told to do, and the named bounds of everything it keeps.

use std::time::Duration;

/// How a torrent behaves towards its swarm.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who is unchoked while we still download.
    pub choker: Strategy,
    /// Upload slots; `None`: as many as the upload rate pays for.
    pub slots: Option<usize>,
    /// In order rather than rarest first.
    pub sequential: bool,
    /// BEP 16 from the start.
    pub super_seeding: bool,
    /// Whether what is missing is fetched. If not, only what is there counts as wanted:
    /// files that differ may be somebody's work.
    pub fetch: bool,
    /// Whether peers may be told of other peers (BEP 11); never for private torrents.
    pub pex: bool,
    /// What our extension handshake says we are.
    pub client: &'static str,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            choker: Strategy::TitForTat,
            slots: None,
            sequential: false,
            super_seeding: false,
            fetch: true,
            pex: true,
            client: "Starling 0.1",
            limits: Limits::default(),
        }
    }
}

/// How upload is shared out while we still download.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// The peers that give fastest, and one by chance (Cohen 2003).
    TitForTat,
    /// Everyone who gave, in proportion to what they gave (Levin et al. 2008).
    PropShare,
}

/// Bounds on what strangers can make a torrent keep or do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of one torrent; more are closed at once.
    pub peers: usize,
    /// Requests of ours in flight at one peer, whatever it advertises.
    pub requests_out: u32,
    /// Requests of a peer we keep; also the `reqq` we advertise.
    pub requests_in: u32,
    /// What a peer is taken to accept when it does not tell.
    pub requests_out_default: u32,
    /// Pieces begun and not yet verified; more only if they are small.
    pub partial_pieces: usize,
    /// Pieces that one fast peer works on in rotation.
    pub own_pieces: usize,
    /// Largest block we serve, in bytes.
    pub block_length_max: u32,
    /// Unsent bytes handed to the driver for one peer: at least and at most.
    pub unsent_min: u64,
    /// See `unsent_min`.
    pub unsent_max: u64,
    /// Bytes of a bitfield that came before the metadata.
    pub early_bitfield: usize,
    /// `have`s that came before the metadata.
    pub early_haves: usize,
    /// Entries of the allowed-fast sets, ours and theirs.
    pub allowed_fast: usize,
    /// Suggested pieces remembered of one peer.
    pub suggestions: usize,
    /// Failed pieces whose block digests are remembered.
    pub failed_pieces: usize,
    /// Addresses remembered as banned.
    pub banned: usize,
    /// Nonsense tolerated from one peer before it is closed.
    pub strikes: u32,
    /// Messages other than data a peer may send in a second.
    pub chatter_per_sec: u32,
    /// Messages other than data a peer may send at once.
    pub chatter_burst: u32,
    /// Web seeds.
    pub web_seeds: usize,
    /// Bytes of one fetch from a web seed: at least and at most, whole pieces.
    pub fetch_min: u64,
    /// See `fetch_min`.
    pub fetch_max: u64,
    /// Silence after which we send a keep-alive.
    pub keep_alive: Duration,
    /// Silence of the peer after which we close.
    pub silence: Duration,
    /// No block for that long though asked: snubbed, at the earliest.
    pub snub: Duration,
    /// How often the choker decides anew.
    pub rechoke: Duration,
    /// How long an optimistic unchoke lasts.
    pub optimistic: Duration,
    /// Payload all newcomers together get on credit at once, in bytes.
    pub newcomer_pool: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            peers: 1000,
            requests_out: 2500,
            requests_in: 2500,
            requests_out_default: 250,
            partial_pieces: 2048,
            own_pieces: 16,
            block_length_max: 128 * 1024,
            unsent_min: 256 * 1024,
            unsent_max: 4 << 20,
            early_bitfield: 512 * 1024,
            early_haves: 65_536,
            allowed_fast: 10,
            suggestions: 16,
            failed_pieces: 64,
            banned: 4096,
            strikes: 64,
            chatter_per_sec: 5_000,
            chatter_burst: 50_000,
            web_seeds: 32,
            fetch_min: 1 << 20,
            fetch_max: 16 << 20,
            keep_alive: Duration::from_secs(100),
            silence: Duration::from_secs(150),
            snub: Duration::from_secs(10),
            rechoke: Duration::from_secs(10),
            optimistic: Duration::from_secs(30),
            newcomer_pool: 2 << 20,
        }
    }
}
