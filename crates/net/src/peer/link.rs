//! An open connection after the handshake: reads, delivers, fills and writes, in
//! one task that holds no memory worth naming while nothing happens.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::chunk::{CHUNK_MAX, CHUNK_MIN};
use super::handle::Shared;
use super::hub::Hub;
use super::inbox::Inbox;
use super::{Closed, PeerHandler};

/// Reads after which other connections get their turn.
const READS_PER_TURN: usize = 2;
/// Writes after which other connections get their turn.
const WRITES_PER_TURN: usize = 4;

pub(crate) struct Link {
    stream: TcpStream,
    shared: Rc<Shared>,
    hub: Rc<Hub>,
    handler: Rc<dyn PeerHandler>,
    inbox: Inbox,
    /// Bytes the next read makes room for.
    room: usize,
    /// When something last came, or we last would not read.
    heard: Instant,
    /// Since when the socket takes nothing of what waits.
    stalled: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// How a step ended that can go no further.
enum Stop {
    /// Until the socket, a handle or the timer wakes the task.
    Waiting,
    /// Until the peer takes answers that wait for it.
    Full,
    /// Others are to have a turn.
    Yield,
}

impl Link {
    pub(crate) fn new(
        stream: TcpStream,
        shared: Rc<Shared>,
        hub: Rc<Hub>,
        handler: Rc<dyn PeerHandler>,
    ) -> Link {
        let timer = Box::pin(sleep(check_interval(&hub)));
        let heard = Instant::now();
        Link {
            stream,
            shared,
            hub,
            handler,
            inbox: Inbox::default(),
            room: CHUNK_MIN,
            heard,
            stalled: None,
            timer,
        }
    }

    /// Runs until the connection ends.
    pub(crate) async fn run(mut self) -> Closed {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        let turn = self.turn(cx);
        self.shared.leave();
        match turn {
            Err(why) => Poll::Ready(why),
            Ok(Stop::Waiting | Stop::Full) => Poll::Pending,
            Ok(Stop::Yield) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Stop, Closed> {
        self.shared.enter(cx);
        self.check_deadlines(cx)?;
        let mut reads = 0;
        loop {
            let read = self.read(cx, &mut reads)?;
            let written = self.write(cx)?;
            if self.shared.closing.get() {
                return Err(Closed::Local);
            }
            if matches!(read, Stop::Yield) || matches!(written, Stop::Yield) {
                return Ok(Stop::Yield);
            }
            let resume = matches!(read, Stop::Full) && !self.too_much_waits();
            if !self.shared.look() && !resume {
                return Ok(Stop::Waiting);
            }
        }
    }

    /// Reads and delivers until the socket is empty.
    fn read(&mut self, cx: &mut Context<'_>, reads: &mut usize) -> Result<Stop, Closed> {
        while !self.shared.closing.get() {
            if self.too_much_waits() {
                return Ok(Stop::Full);
            }
            if !self.handler.may_read(self.shared.conn) {
                self.heard = Instant::now();
                return Ok(Stop::Waiting);
            }
            if *reads >= READS_PER_TURN {
                return Ok(Stop::Yield);
            }
            match self.read_once(cx) {
                Poll::Pending => return Ok(Stop::Waiting),
                Poll::Ready(read) => read?,
            }
            *reads += 1;
        }
        Ok(Stop::Waiting)
    }

    fn too_much_waits(&self) -> bool {
        self.shared.outbox.borrow().control_waiting() > self.hub.limits.control_pause_bytes
    }

    fn read_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        ready!(self.stream.poll_read_ready(cx))?;
        let mut chunk = self.hub.chunks.get(self.room);
        let mut buf = ReadBuf::new(chunk.as_mut());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        let read = buf.filled().len();
        if read == 0 {
            return Poll::Ready(Err(Closed::PeerLeft));
        }
        self.adapt(read);
        self.heard = Instant::now();
        let (shared, handler) = (&self.shared, &self.handler);
        let conn = shared.conn;
        let fed = self.inbox.feed(chunk, read, &shared.wire.get(), &mut |message, block| {
            handler.message(conn, message, block);
            !shared.closing.get()
        });
        if !shared.closing.get() {
            handler.batch_end(conn);
        }
        Poll::Ready(fed.map_err(Closed::Protocol))
    }

    /// More room for who fills it, less for who does not.
    fn adapt(&mut self, read: usize) {
        if read >= self.room {
            self.room = (self.room * 2).min(CHUNK_MAX);
        } else if read < self.room / 4 {
            self.room = (self.room / 2).max(CHUNK_MIN);
        }
    }

    /// Writes until the queue is empty or the socket full.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<Stop, Closed> {
        if self.shared.outbox.borrow().control_waiting() > self.hub.limits.control_max_bytes {
            return Err(Closed::NotReading);
        }
        for _ in 0..WRITES_PER_TURN {
            match self.write_once(cx)? {
                Poll::Ready(true) => self.stalled = None,
                Poll::Ready(false) => {
                    self.stalled = None;
                    return Ok(Stop::Waiting);
                }
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return Ok(Stop::Waiting);
                }
            }
        }
        Ok(Stop::Yield)
    }

    /// One write of whatever waits; false when nothing does.
    fn write_once(&mut self, cx: &mut Context<'_>) -> Result<Poll<bool>, Closed> {
        let shared = self.shared.clone();
        let mut outbox = shared.outbox.borrow_mut();
        if !outbox.unsent().is_empty() {
            let Poll::Ready(n) = Pin::new(&mut self.stream).poll_write(cx, outbox.unsent()) else {
                return Ok(Poll::Pending);
            };
            let sent = outbox.unsent_written(n?);
            drop(outbox);
            self.report(sent);
            return Ok(Poll::Ready(true));
        }
        if outbox.is_empty() {
            return Ok(Poll::Ready(false));
        }
        drop(outbox);
        let Poll::Ready(ready) = self.stream.poll_write_ready(cx) else { return Ok(Poll::Pending) };
        ready?;
        self.write_batch(cx)
    }

    fn write_batch(&mut self, cx: &mut Context<'_>) -> Result<Poll<bool>, Closed> {
        let shared = self.shared.clone();
        let mut batch = match shared.outbox.borrow_mut().take_batch(self.hub.scratch.take()) {
            Ok(batch) => batch,
            Err(scratch) => {
                self.hub.scratch.replace(scratch);
                return Ok(Poll::Ready(false));
            }
        };
        let later = batch.fill(|blocks, bufs| self.handler.fill(shared.conn, blocks, bufs));
        shared.outbox.borrow_mut().set_pending(&later);
        let result = match batch.bytes() {
            [] => Poll::Ready(Ok(0)),
            bytes => Pin::new(&mut self.stream).poll_write(cx, bytes),
        };
        let n = if let Poll::Ready(Ok(n)) = result { n } else { 0 };
        let (sent, scratch) = shared.outbox.borrow_mut().written(batch, n);
        self.hub.scratch.replace(scratch);
        self.report(sent);
        match result {
            Poll::Ready(written) => Ok(Poll::Ready(written.map(|_| true)?)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn report(&self, sent: u32) {
        if sent > 0 {
            self.handler.sent(self.shared.conn, sent);
        }
    }

    fn check_deadlines(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let limits = &self.hub.limits;
            if self.stalled.is_some_and(|since| since.elapsed() >= limits.write_stall_timeout) {
                return Err(Closed::NotReading);
            }
            if self.heard.elapsed() >= limits.silence_timeout {
                return Err(Closed::Silent);
            }
            self.timer.as_mut().reset(Instant::now() + check_interval(&self.hub));
        }
        Ok(())
    }
}

/// How often deadlines are looked at: rarely, for thousands of peers do it.
fn check_interval(hub: &Hub) -> Duration {
    let shortest = hub.limits.write_stall_timeout.min(hub.limits.silence_timeout);
    (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(15))
}
