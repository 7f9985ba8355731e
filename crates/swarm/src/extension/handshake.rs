use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use starling_bencode::Node;

use super::{ExtensionError, HANDSHAKE, dictionary, extended};
use crate::Message;

/// Characters of a client's name that are kept.
pub const MAX_CLIENT_LEN: usize = 64;

/// How one side numbers the extensions (BEP 10 `m`). In a handshake `None` means not
/// mentioned and `Some(0)` switched off; after [`ExtensionIds::update`] `None` is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtensionIds {
    /// BEP 9.
    pub ut_metadata: Option<u8>,
    /// BEP 11.
    pub ut_pex: Option<u8>,
    /// BEP 54.
    pub lt_donthave: Option<u8>,
}

impl ExtensionIds {
    /// Takes over what a peer's handshake, the first or a later one, says: `m` is additive.
    pub fn update(&mut self, told: &ExtensionIds) {
        let take = |held: &mut Option<u8>, told: Option<u8>| {
            if let Some(id) = told {
                *held = (id != 0).then_some(id);
            }
        };
        take(&mut self.ut_metadata, told.ut_metadata);
        take(&mut self.ut_pex, told.ut_pex);
        take(&mut self.lt_donthave, told.lt_donthave);
    }
}

/// The handshake of the extension protocol. Every field may be absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtensionHandshake {
    /// `m`: how the sender numbers the extensions.
    pub ids: ExtensionIds,
    /// `v`: name and version, printable, at most [`MAX_CLIENT_LEN`] characters.
    pub client: Option<String>,
    /// `p`: the TCP port the sender listens at; never 0.
    pub port: Option<u16>,
    /// `reqq`: requests the sender lets wait without dropping any.
    pub reqq: Option<u32>,
    /// `metadata_size` in bytes (BEP 9), as claimed: not yet bounded.
    pub metadata_size: Option<u64>,
    /// `yourip`: the receiver's address as the sender sees it.
    pub yourip: Option<IpAddr>,
    /// `ipv4`: an address at which the sender may be reached.
    pub ipv4: Option<Ipv4Addr>,
    /// `ipv6`: likewise.
    pub ipv6: Option<Ipv6Addr>,
    /// `upload_only` (BEP 21): the sender will download nothing.
    pub upload_only: Option<bool>,
}

impl ExtensionHandshake {
    /// The message to send.
    pub fn message(&self) -> Message {
        extended(HANDSHAKE, self.encode())
    }

    /// The payload, bencoded.
    pub fn encode(&self) -> Vec<u8> {
        starling_bencode::encode_dict(|d| {
            d.dict("m", |m| {
                let ids = &self.ids;
                let named = [("ut_metadata", ids.ut_metadata), ("ut_pex", ids.ut_pex)];
                for (name, id) in named.into_iter().chain([("lt_donthave", ids.lt_donthave)]) {
                    id.into_iter().for_each(|id| m.int(name, i64::from(id)));
                }
            });
            let numbers = [
                ("p", self.port.map(i64::from)),
                ("reqq", self.reqq.map(i64::from)),
                ("metadata_size", self.metadata_size.map(|size| i64::try_from(size).unwrap_or(i64::MAX))),
                ("upload_only", self.upload_only.map(i64::from)),
            ];
            for (key, number) in numbers {
                number.into_iter().for_each(|number| d.int(key, number));
            }
            self.client.iter().for_each(|client| d.bytes("v", client));
            self.ipv4.iter().for_each(|ip| d.bytes("ipv4", ip.octets()));
            self.ipv6.iter().for_each(|ip| d.bytes("ipv6", ip.octets()));
            match self.yourip {
                Some(IpAddr::V4(ip)) => d.bytes("yourip", ip.octets()),
                Some(IpAddr::V6(ip)) => d.bytes("yourip", ip.octets()),
                None => {}
            }
        })
    }

    /// Reads a peer's handshake. Fields of a wrong type or out of range count as absent.
    pub fn decode(payload: &[u8]) -> Result<ExtensionHandshake, ExtensionError> {
        let (document, _) = dictionary(payload)?;
        let d = document.root();
        let number = |key: &str| d.get(key).and_then(Node::as_u64);
        let bytes = |key: &str| d.get(key).and_then(Node::as_bytes);
        let extension = |name: &str| u8::try_from(d.get("m")?.get(name)?.as_u64()?).ok();
        Ok(ExtensionHandshake {
            ids: ExtensionIds {
                ut_metadata: extension("ut_metadata"),
                ut_pex: extension("ut_pex"),
                lt_donthave: extension("lt_donthave"),
            },
            client: bytes("v").map(printable).filter(|name| !name.is_empty()),
            port: number("p").and_then(|p| u16::try_from(p).ok()).filter(|&p| p != 0),
            reqq: number("reqq").map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            metadata_size: number("metadata_size"),
            yourip: bytes("yourip").and_then(ip_addr),
            ipv4: bytes("ipv4").and_then(|b| <[u8; 4]>::try_from(b).ok()).map(Ipv4Addr::from),
            ipv6: bytes("ipv6").and_then(|b| <[u8; 16]>::try_from(b).ok()).map(Ipv6Addr::from),
            upload_only: number("upload_only").map(|n| n != 0),
        })
    }
}

/// What of a client's name can be shown on any terminal.
fn printable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(4 * MAX_CLIENT_LEN)]);
    text.chars().filter(|c| !c.is_control() && !is_format(*c)).take(MAX_CLIENT_LEN).collect()
}

/// Characters that change how those around them are shown.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn ip_addr(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
