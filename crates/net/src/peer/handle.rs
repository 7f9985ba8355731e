use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use starling_swarm::wire::WireLimits;
use starling_swarm::{Block, ConnId, Message};

use super::outbox::Outbox;

/// One connection, for whoever decides what is sent on it.
///
/// Cheap to clone. No method calls the handler or touches the socket: they queue,
/// and the connection's own task sends, once for all that was queued in one turn of
/// the network thread. Everything is accepted and ignored after the connection ended.
#[derive(Clone)]
pub struct PeerHandle(pub(crate) Rc<Shared>);

impl PeerHandle {
    /// The number the connection was given.
    pub fn conn(&self) -> ConnId {
        self.0.conn
    }

    /// The far end.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Whether we dialled.
    pub fn outbound(&self) -> bool {
        self.0.outbound
    }

    /// Queues a message. `Piece` is sent with [`PeerHandle::send_block`] instead; it is
    /// ignored here.
    pub fn send(&self, message: &Message) {
        if !self.0.ended.get() && !matches!(message, Message::Piece(_)) {
            self.0.outbox.borrow_mut().push_message(message);
            self.0.wake();
        }
    }

    /// Queues a block, whose bytes [`crate::PeerHandler::fill`] is asked for when the
    /// socket takes them. Its length is to be that of a request that was accepted.
    pub fn send_block(&self, block: Block) {
        if !self.0.ended.get() {
            self.0.outbox.borrow_mut().push_block(block);
            self.0.wake();
        }
    }

    /// The bytes of a block that `fill` left pending. Others are ignored.
    pub fn block_ready(&self, block: Block, bytes: Bytes) {
        if !self.0.ended.get() && self.0.outbox.borrow_mut().ready(block, bytes) {
            self.0.wake();
        }
    }

    /// A block that `fill` left pending cannot be read: it is not sent.
    pub fn block_failed(&self, block: Block) {
        if !self.0.ended.get() && self.0.outbox.borrow_mut().drop_pending(block) {
            self.0.wake();
        }
    }

    /// Bytes of blocks queued and not yet handed to the socket.
    pub fn outstanding(&self) -> u64 {
        self.0.outbox.borrow().blocks_waiting()
    }

    /// Tells the connection that [`crate::PeerHandler::may_read`] may have become true.
    pub fn wake_reader(&self) {
        self.0.wake();
    }

    /// From now on a message beyond these limits ends the connection.
    pub fn set_wire_limits(&self, limits: WireLimits) {
        self.0.wire.set(limits);
    }

    /// Ends the connection, after one try to send what is queued. No message is
    /// delivered any more; [`crate::PeerHandler::closed`] still follows.
    pub fn close(&self) {
        self.0.closing.set(true);
        self.0.wake();
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerHandle({}, {})", self.0.conn.0, self.0.addr)
    }
}

/// What a connection's task and its handles share.
pub(crate) struct Shared {
    pub(crate) conn: ConnId,
    pub(crate) addr: SocketAddr,
    pub(crate) outbound: bool,
    pub(crate) outbox: RefCell<Outbox>,
    pub(crate) wire: Cell<WireLimits>,
    pub(crate) closing: Cell<bool>,
    pub(crate) ended: Cell<bool>,
    /// Something was queued that the task has not looked at.
    fresh: Cell<bool>,
    /// The task is running: it looks before it sleeps, and need not be woken.
    running: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    pub(crate) fn new(conn: ConnId, addr: SocketAddr, outbound: bool, wire: WireLimits) -> Rc<Shared> {
        Rc::new(Shared {
            conn,
            addr,
            outbound,
            outbox: RefCell::new(Outbox::new()),
            wire: Cell::new(wire),
            closing: Cell::new(false),
            ended: Cell::new(false),
            fresh: Cell::new(false),
            running: Cell::new(false),
            waker: RefCell::new(None),
        })
    }

    /// Has the task look again; it is woken once, however much is queued before it runs.
    fn wake(&self) {
        if !self.fresh.replace(true)
            && !self.running.get()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// The task begins to run, and what was queued before it is being looked at.
    pub(crate) fn enter(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.running.set(true);
        self.fresh.set(false);
    }

    /// Whether something was queued since the last look.
    pub(crate) fn look(&self) -> bool {
        self.fresh.replace(false)
    }

    /// The task is about to sleep.
    pub(crate) fn leave(&self) {
        self.running.set(false);
    }

    /// Returns once the owner wants the connection closed.
    pub(crate) async fn closing(&self) {
        poll_fn(|cx| {
            self.enter(cx);
            self.leave();
            if self.closing.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
