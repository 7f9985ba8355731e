use std::net::{IpAddr, Ipv4Addr};

use starling_metainfo::Sha1Hash;
use thiserror::Error;

use crate::peers::{read_v4, read_v6, write_v4, write_v6};
use crate::types::text;
use crate::{AnnounceRequest, AnnounceResponse, Event, Family, Limits, ScrapeEntry};

/// What begins every connection request (BEP 15).
const PROTOCOL_ID: u64 = 0x0417_2710_1980;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// BEP 41 options.
const END_OF_OPTIONS: u8 = 0;
const NOP: u8 = 1;
const URL_DATA: u8 = 2;

/// Why a datagram is not one of BEP 15; its sender is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PacketError {
    /// It ends too early.
    #[error("the datagram is too short")]
    TooShort,
    /// Its action has no meaning, or a connection request has the wrong magic number.
    #[error("the datagram is not of the UDP tracker protocol")]
    Unknown,
}

/// From client to tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// Comes back with the answer.
        transaction: u32,
    },
    /// Announces.
    Announce {
        /// From the answer to `Connect`.
        connection: u64,
        /// Comes back with the answer.
        transaction: u32,
        /// `tracker_id` and `ipv6` do not travel.
        request: AnnounceRequest,
        /// Path and query of the tracker's address (BEP 41); empty: no option.
        url_data: Vec<u8>,
    },
    /// Asks for numbers.
    Scrape {
        /// From the answer to `Connect`.
        connection: u64,
        /// Comes back with the answer.
        transaction: u32,
        /// At most [`Limits::SCRAPE`].
        info_hashes: Vec<Sha1Hash>,
    },
}

/// From tracker to client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// A connection id.
    Connect {
        /// As asked.
        transaction: u32,
        /// Good for a minute.
        connection: u64,
    },
    /// The answer to an announce.
    Announce {
        /// As asked.
        transaction: u32,
        /// Only interval, numbers and peers travel.
        answer: AnnounceResponse,
    },
    /// The answer to a scrape, in the order asked.
    Scrape {
        /// As asked.
        transaction: u32,
        /// One for each info-hash.
        entries: Vec<ScrapeEntry>,
    },
    /// A refusal.
    Error {
        /// As asked.
        transaction: u32,
        /// For the user.
        message: String,
    },
}

impl Request {
    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Request::Connect { transaction } => head(PROTOCOL_ID, CONNECT, *transaction),
            Request::Announce { connection, transaction, request, url_data } => {
                let mut out = head(*connection, ANNOUNCE, *transaction);
                write_announce(request, &mut out);
                for chunk in url_data.chunks(255) {
                    out.extend_from_slice(&[URL_DATA, u8::try_from(chunk.len()).unwrap_or(u8::MAX)]);
                    out.extend_from_slice(chunk);
                }
                out
            }
            Request::Scrape { connection, transaction, info_hashes } => {
                let mut out = head(*connection, SCRAPE, *transaction);
                info_hashes.iter().take(Limits::SCRAPE).for_each(|hash| out.extend_from_slice(&hash.0));
                out
            }
        }
    }

    /// Reads a datagram, as a tracker does. Bytes after what is known are ignored.
    pub fn decode(datagram: &[u8]) -> Result<Request, PacketError> {
        let mut r = Reader(datagram);
        let (connection, action, transaction) = (r.u64()?, r.u32()?, r.u32()?);
        match action {
            CONNECT if connection == PROTOCOL_ID => Ok(Request::Connect { transaction }),
            ANNOUNCE => {
                let request = read_announce(&mut r)?;
                Ok(Request::Announce { connection, transaction, request, url_data: url_data(r.0) })
            }
            SCRAPE => {
                let hashes = r.0.as_chunks::<20>().0.iter().take(Limits::SCRAPE);
                let info_hashes = hashes.map(|hash| Sha1Hash(*hash)).collect();
                Ok(Request::Scrape { connection, transaction, info_hashes })
            }
            _ => Err(PacketError::Unknown),
        }
    }
}

impl Response {
    /// The datagram; `family` is that of the packet it answers.
    pub fn encode(&self, family: Family) -> Vec<u8> {
        match self {
            Response::Connect { transaction, connection } => {
                let mut out = reply(CONNECT, *transaction);
                out.extend_from_slice(&connection.to_be_bytes());
                out
            }
            Response::Announce { transaction, answer } => {
                let mut out = reply(ANNOUNCE, *transaction);
                let numbers = [Some(answer.interval), answer.incomplete, answer.complete];
                put(&mut out, numbers.map(|n| n.unwrap_or(0)));
                out.extend(match family {
                    Family::V4 => write_v4(&answer.peers),
                    Family::V6 => write_v6(&answer.peers),
                });
                out
            }
            Response::Scrape { transaction, entries } => {
                let mut out = reply(SCRAPE, *transaction);
                for entry in entries {
                    put(&mut out, [entry.complete, entry.downloaded, entry.incomplete]);
                }
                out
            }
            Response::Error { transaction, message } => {
                let mut out = reply(ERROR, *transaction);
                out.extend_from_slice(message.as_bytes());
                out
            }
        }
    }

    /// Reads a datagram, as a client does; `family` is that of the packet.
    pub fn decode(datagram: &[u8], family: Family) -> Result<Response, PacketError> {
        let mut r = Reader(datagram);
        let (action, transaction) = (r.u32()?, r.u32()?);
        match action {
            CONNECT => Ok(Response::Connect { transaction, connection: r.u64()? }),
            ANNOUNCE => {
                let (interval, incomplete, complete) = (r.u32()?, Some(r.u32()?), Some(r.u32()?));
                let mut peers = Vec::new();
                match family {
                    Family::V4 => read_v4(r.0, &mut peers),
                    Family::V6 => read_v6(r.0, &mut peers),
                }
                let answer =
                    AnnounceResponse { interval, incomplete, complete, peers, ..AnnounceResponse::default() };
                Ok(Response::Announce { transaction, answer })
            }
            SCRAPE => Ok(Response::Scrape { transaction, entries: scrape_entries(r) }),
            ERROR => Ok(Response::Error { transaction, message: text(r.0) }),
            _ => Err(PacketError::Unknown),
        }
    }

    /// Which request this answers.
    pub fn transaction(&self) -> u32 {
        match self {
            Response::Connect { transaction, .. }
            | Response::Announce { transaction, .. }
            | Response::Scrape { transaction, .. }
            | Response::Error { transaction, .. } => *transaction,
        }
    }
}

fn head(connection: u64, action: u32, transaction: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&connection.to_be_bytes());
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
    out
}

fn reply(action: u32, transaction: u32) -> Vec<u8> {
    [action.to_be_bytes(), transaction.to_be_bytes()].concat()
}

fn put<const N: usize>(out: &mut Vec<u8>, numbers: [u32; N]) {
    numbers.iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
}

fn write_announce(request: &AnnounceRequest, out: &mut Vec<u8>) {
    out.extend_from_slice(&request.info_hash.0);
    out.extend_from_slice(&request.peer_id);
    for total in [request.downloaded, request.left, request.uploaded] {
        out.extend_from_slice(&total.to_be_bytes());
    }
    let event: u32 = match request.event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    let ip = match request.ip {
        Some(IpAddr::V4(ip)) => u32::from(ip),
        _ => 0,
    };
    let numwant = request.numwant.map_or(u32::MAX, |n| n.min(i32::MAX as u32));
    put(out, [event, ip, request.key, numwant]);
    out.extend_from_slice(&request.port.to_be_bytes());
}

fn read_announce(r: &mut Reader<'_>) -> Result<AnnounceRequest, PacketError> {
    let (info_hash, peer_id) = (Sha1Hash(r.array()?), r.array()?);
    let (downloaded, left, uploaded) = (r.u64()?, r.u64()?, r.u64()?);
    let event = match r.u32()? {
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        _ => Event::None,
    };
    let ip = r.u32()?;
    let ip = (ip != 0).then(|| IpAddr::V4(Ipv4Addr::from(ip)));
    let key = r.u32()?;
    let numwant = Some(r.u32()?).filter(|&n| i32::try_from(n).is_ok());
    let port = u16::from_be_bytes(r.array()?);
    let request = AnnounceRequest::new(info_hash, peer_id, port);
    Ok(AnnounceRequest { uploaded, downloaded, left, event, numwant, key, ip, ..request })
}

/// The URL data among the options (BEP 41). Unknown options are skipped.
fn url_data(mut options: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [kind, rest @ ..] = options {
        options = rest;
        match *kind {
            END_OF_OPTIONS => break,
            NOP => continue,
            _ => (),
        }
        let Some((&length, rest)) = options.split_first() else { break };
        let Some((data, rest)) = rest.split_at_checked(usize::from(length)) else { break };
        if *kind == URL_DATA && out.len() + data.len() <= Limits::URL {
            out.extend_from_slice(data);
        }
        options = rest;
    }
    out
}

fn scrape_entries(r: Reader<'_>) -> Vec<ScrapeEntry> {
    let entries = r.0.as_chunks::<12>().0.iter().take(Limits::SCRAPE);
    let entry = |bytes: &[u8; 12]| {
        let mut r = Reader(bytes);
        Some(ScrapeEntry { complete: r.u32().ok()?, downloaded: r.u32().ok()?, incomplete: r.u32().ok()? })
    };
    entries.filter_map(entry).collect()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], PacketError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(PacketError::TooShort)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, PacketError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, PacketError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests;
