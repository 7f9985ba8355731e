//! What a node heard and said, written down, and lived again.
//!
//! A record is a sequence of entries: the time in µs (8 bytes), the length of what
//! follows (4), what it is (1), and its content. It begins with the node's name, seed and
//! network; inputs and outputs follow in their order. Events are written as a person
//! reads them. The configuration is not in it. Texts in commands are cut as messages cut
//! them ([`starling_overlay::wire::MAX_TEXT`]).

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use starling_overlay::wire::{Malformed, Reader, Wire, Writer};
use starling_overlay::{Command, Contact, Id, Op, Overlay, Query, Record};
use starling_sansio::Time;

use super::station::Station;

/// One thing that happened.
pub(super) enum Entry {
    Start { me: Contact, seed: u64, network: String },
    Received(SocketAddr, Vec<u8>),
    Command(Command<Contact>),
    Timeout,
    Sent(SocketAddr, Vec<u8>),
    Told(String),
}

/// Writes entries, until it cannot.
pub(super) struct Recorder {
    to: Option<Box<dyn Write>>,
    broken: bool,
    missing: u64,
}

impl Recorder {
    pub fn new(to: Option<Box<dyn Write>>) -> Recorder {
        Recorder { to, broken: false, missing: 0 }
    }

    /// Writes what `entry` makes, if anything is written at all.
    pub fn put(&mut self, now: Time, entry: impl FnOnce() -> Entry) {
        let Some(to) = &mut self.to else { return };
        self.broken = self.broken || to.write_all(&entry().encode(now)).is_err();
        self.missing += u64::from(self.broken);
    }

    /// Entries that could not be written.
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

/// Lets a fresh core of the same configuration live through the inputs of `record`; what
/// it then heard and said, as a record: the same one to the byte, unless the core or the
/// configuration has changed.
///
/// # Errors
/// [`Malformed`] if `record` is none, or is cut short.
pub fn replay<O: Overlay<Contact>>(config: &Arc<O::Config>, record: &[u8]) -> Result<Vec<u8>, Malformed> {
    let again = Memory::default();
    let mut input = Reader::new(record);
    let (_, Entry::Start { me, seed, network }) = Entry::decode(&mut input)? else {
        return Err(Malformed::Unknown(0));
    };
    let mut station = Station::<O>::new(me, config, &network, seed, Some(Box::new(again.clone())));
    while input.left() > 0 {
        match Entry::decode(&mut input)? {
            (now, Entry::Received(from, bytes)) => station.datagram(now, from, &bytes),
            (now, Entry::Command(command)) => station.command(now, command),
            (now, Entry::Timeout) => station.timeout(now),
            (_, Entry::Sent(..) | Entry::Told(_)) => {}
            (_, Entry::Start { .. }) => return Err(Malformed::Unknown(0)),
        }
        station.take_outputs();
    }
    drop(station);
    Ok(again.0.take())
}

/// Bytes that two hold.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Entry {
    fn encode(&self, now: Time) -> Vec<u8> {
        let mut content = Vec::new();
        match self {
            Entry::Start { me, seed, network } => {
                content.put(&[0]);
                me.encode(&mut content);
                seed.encode(&mut content);
                content.put(network.as_bytes());
            }
            Entry::Received(from, bytes) => put_datagram(&mut content, 1, *from, bytes),
            Entry::Command(command) => put_command(&mut content, command),
            Entry::Timeout => content.put(&[3]),
            Entry::Sent(to, bytes) => put_datagram(&mut content, 4, *to, bytes),
            Entry::Told(text) => {
                content.put(&[5]);
                content.put(text.as_bytes());
            }
        }
        let mut bytes = Vec::with_capacity(12 + content.len());
        now.as_micros().encode(&mut bytes);
        (content.len() as u32).encode(&mut bytes);
        bytes.put(&content);
        bytes
    }

    fn decode(input: &mut Reader<'_>) -> Result<(Time, Entry), Malformed> {
        let now = Time::from_micros(u64::decode(input)?);
        let length = u32::decode(input)?;
        let mut content = Reader::new(input.take(length as usize)?);
        let entry = match u8::decode(&mut content)? {
            0 => Entry::Start {
                me: Contact::decode(&mut content)?,
                seed: u64::decode(&mut content)?,
                network: text(&mut content)?,
            },
            1 => Entry::Received(Contact::decode(&mut content)?.addr(), rest(&mut content)?),
            2 => Entry::Command(command(&mut content)?),
            3 => Entry::Timeout,
            4 => Entry::Sent(Contact::decode(&mut content)?.addr(), rest(&mut content)?),
            5 => Entry::Told(text(&mut content)?),
            other => return Err(Malformed::Unknown(other.into())),
        };
        if content.left() == 0 { Ok((now, entry)) } else { Err(Malformed::Long(content.left())) }
    }
}

fn put_datagram(out: &mut Vec<u8>, tag: u8, addr: SocketAddr, bytes: &[u8]) {
    out.put(&[tag]);
    Contact::new(addr, 0).encode(out);
    out.put(bytes);
}

fn rest(content: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    content.take(content.left()).map(Vec::from)
}

fn text(content: &mut Reader<'_>) -> Result<String, Malformed> {
    String::from_utf8(rest(content)?).map_err(|e| Malformed::Unknown(e.utf8_error().valid_up_to() as u64))
}

fn put_command(out: &mut Vec<u8>, command: &Command<Contact>) {
    let tag = match command {
        Command::Join(_) => 0,
        Command::Leave => 1,
        Command::Publish(_) => 2,
        Command::Withdraw(_) => 3,
        Command::LookUp(..) => 4,
        Command::Search(..) => 5,
        Command::Find(..) => 6,
    };
    out.put(&[2, tag]);
    match command {
        Command::Join(through) => through.encode(out),
        Command::Leave => {}
        Command::Publish(record) => record.encode(out),
        Command::Withdraw(key) => key.encode(out),
        Command::LookUp(op, key) | Command::Find(op, key) => {
            op.0.encode(out);
            key.encode(out);
        }
        Command::Search(op, query) => {
            op.0.encode(out);
            query.encode(out);
        }
    }
}

fn command(input: &mut Reader<'_>) -> Result<Command<Contact>, Malformed> {
    let op = |input: &mut Reader<'_>| u32::decode(input).map(Op);
    Ok(match u8::decode(input)? {
        0 => Command::Join(Wire::decode(input)?),
        1 => Command::Leave,
        2 => Command::Publish(Record::decode(input)?),
        3 => Command::Withdraw(Id::decode(input)?),
        4 => Command::LookUp(op(input)?, Id::decode(input)?),
        5 => Command::Search(op(input)?, Query::decode(input)?),
        6 => Command::Find(op(input)?, Id::decode(input)?),
        other => return Err(Malformed::Unknown(other.into())),
    })
}
