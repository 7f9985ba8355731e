//! Overlay cores on real sockets: a node is one core and one UDP socket.
//!
//! The core ([`starling_overlay::Overlay`], named by [`Contact`]) is the same that the
//! simulator drives. A [`Node`] gives it datagrams, commands and the time since the
//! node's start, sends what it says, and passes on what it tells. What lies between is a
//! machine of its own without any I/O: from the same inputs it makes the same outputs to
//! the byte, so that a node that is recorded ([`Options::record`]) can be lived again
//! ([`replay`]).
//!
//! A peer is who its datagrams come from: an address that they carry would be a claim,
//! so there is none in the header, only the number of the virtual node there. Datagrams
//! that are not of this network or no message are counted and change nothing.
//!
//! Senders can be forged, so the core hears of an address only once that has proven that
//! it gets what is sent to it, by returning a cookie: one round trip at first contact,
//! after which cookies ride on other datagrams. Before that it gets three times the bytes
//! that came from it, or if nothing came a few short questions a minute.
//!
//! Deliberately absent: encryption and proof of a datagram's source (cores match answers
//! to questions by numbers drawn by chance; an address proves itself once in a while, not
//! with each datagram), several virtual nodes on one socket, an address behind a NAT that
//! differs from the one bound, resending (the cores ask again), and word of hosts that
//! cannot be reached (silence is the only sign).

mod datagram;
mod held;
mod outside;
mod proofs;
mod recent;
mod record;
mod roads;
mod station;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use starling_overlay::{Command, Contact, Event, Overlay};
use starling_sansio::Time;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

pub use datagram::{DATAGRAM_MAX, UNFRAGMENTED_MAX, rewritten};
pub use outside::Counts;
pub use record::replay;

use outside::Output;
use station::Station;

/// Commands that wait for the node at most; who gives more has to wait.
pub const COMMANDS_MAX: usize = 64;
/// Events that wait for the user at most; more are lost and counted.
pub const EVENTS_MAX: usize = 4096;
/// Datagrams read before timers, commands and other nodes get their turn.
const READS_PER_TURN: usize = 64;
/// Rest after an error of the socket itself.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// How a node is started.
pub struct Options {
    /// Where to bind: the address by which others know the node, so not an unspecified
    /// one; port 0 takes any.
    pub at: SocketAddr,
    /// Which of the nodes at this address it is, see [`Contact`].
    pub virtual_node: u8,
    /// The network's name: nodes of others are not understood.
    pub network: String,
    /// From which the core's chance is drawn, and the secret of the cookies. Whoever knows
    /// it can forge answers and proofs of addresses.
    pub seed: u64,
    /// Where every input and output is written, for [`replay`]. It should be buffered; it
    /// grows with all that is said, and after its first error no more is written.
    pub record: Option<Box<dyn io::Write>>,
}

/// A node of the overlay `O`. Dropping it kills the node without a word;
/// [`Command::Leave`] and [`Event::Left`] come before a good-bye.
pub struct Node<O: Overlay<Contact>> {
    me: Contact,
    station: Rc<RefCell<Station<O>>>,
    commands: mpsc::Sender<Command<Contact>>,
    events: mpsc::Receiver<Event<Contact>>,
    task: AbortHandle,
}

impl<O: Overlay<Contact> + 'static> Node<O> {
    /// Binds the socket and starts a node that takes no part yet. Must be called within a
    /// `LocalSet`.
    ///
    /// # Errors
    /// This machine's: the address cannot be bound, or is an unspecified one.
    pub fn start(config: &Arc<O::Config>, options: Options) -> io::Result<Node<O>> {
        if options.at.ip().is_unspecified() {
            let why = "an overlay node needs the address by which others know it, not an unspecified one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let socket = crate::udp::open(options.at)?;
        let me = Contact::new(socket.local_addr()?, options.virtual_node);
        let station = Station::new(me, config, &options.network, options.seed, options.record);
        let station = Rc::new(RefCell::new(station));
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let driver = Driver { station: station.clone(), socket, tell, started: Instant::now() };
        let task = tokio::task::spawn_local(driver.run(commanded)).abort_handle();
        Ok(Node { me, station, commands, events, task })
    }

    /// The node's name: where it is bound.
    pub fn me(&self) -> Contact {
        self.me
    }

    /// Gives the node a command; waits while [`COMMANDS_MAX`] others do.
    pub async fn command(&self, command: Command<Contact>) {
        let _ = self.commands.send(command).await; // the driver ends with `self`, not before
    }

    /// The next thing that the node tells.
    pub async fn event(&mut self) -> Option<Event<Contact>> {
        self.events.recv().await
    }

    /// Lets `look` see the core, as for [`starling_overlay::Core::known`].
    pub fn look<T>(&self, look: impl FnOnce(&O) -> T) -> T {
        look(&self.station.borrow().core)
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        self.station.borrow().counts().clone()
    }
}

impl<O: Overlay<Contact>> Drop for Node<O> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What connects a station to the world.
struct Driver<O: Overlay<Contact>> {
    station: Rc<RefCell<Station<O>>>,
    socket: UdpSocket,
    tell: mpsc::Sender<Event<Contact>>,
    started: Instant,
}

impl<O: Overlay<Contact>> Driver<O> {
    async fn run(self, mut commanded: mpsc::Receiver<Command<Contact>>) {
        let mut buf = vec![0; DATAGRAM_MAX + 1];
        loop {
            let due = self.station.borrow().next_timeout();
            tokio::select! {
                command = commanded.recv() => match command {
                    Some(command) => self.step(|station, now| station.command(now, command)),
                    None => return,
                },
                _ = self.socket.readable() => self.read(&mut buf).await,
                () = self.until(due) => self.step(Station::timeout),
            }
        }
    }

    /// Waits for a deadline; for ever if there is none.
    async fn until(&self, due: Option<Time>) {
        let due = due.and_then(|due| self.started.checked_add(due.since(Time::ZERO)));
        match due {
            Some(due) => sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }

    async fn read(&self, buf: &mut [u8]) {
        for _ in 0..READS_PER_TURN {
            match self.socket.try_recv_from(buf) {
                Ok((n, from)) => self.step(|station, now| station.datagram(now, from, &buf[..n])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return tokio::time::sleep(ERROR_PAUSE).await,
            }
        }
        tokio::task::yield_now().await;
    }

    /// Takes one input, and does what follows from it.
    fn step(&self, input: impl FnOnce(&mut Station<O>, Time)) {
        let mut station = self.station.borrow_mut();
        let now = Time::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        input(&mut station, now);
        for output in station.take_outputs() {
            match output {
                Output::Datagram(to, bytes) => {
                    let sent = SockRef::from(&self.socket).send_to(&bytes, &to.into());
                    station.counts_mut().unsent += u64::from(sent.is_err());
                }
                Output::Event(event) => {
                    station.counts_mut().untold += u64::from(self.tell.try_send(event).is_err());
                }
            }
        }
    }
}
