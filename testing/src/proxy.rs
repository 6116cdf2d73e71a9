//! A TCP proxy between two parts, which can slow down, fall silent, cut and refuse while it runs.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

const READ: usize = 64 * 1024;
/// Pieces that may be under way in one direction; more stay in the sender's socket.
const UNDER_WAY: usize = 64;
const BACKLOG: u32 = 1024;
/// Between two looks at a port that somebody else has.
const TAKEN: Duration = Duration::from_millis(5);

/// What the proxy does with connections, old and new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Pass,
    /// Everything arrives this much later, in its order; the rate stays.
    Delay(Duration),
    /// Accepts and forwards nothing, not even a close. What is held arrives when the mode changes.
    Blackhole,
    /// Closes every connection and refuses new ones; the port stays reserved.
    Refuse,
    /// At most this many bytes a second in each direction of each connection.
    Throttle(u64),
}

enum Order {
    Mode(Mode, oneshot::Sender<()>),
    Cut(oneshot::Sender<()>),
}

/// A running proxy. Dropping it closes its port and its connections.
pub struct Proxy {
    addr: SocketAddr,
    orders: mpsc::Sender<Order>,
    open: Arc<AtomicUsize>,
    _gate: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on a port that the kernel chooses. The target is `host:port`, or a URL with nothing behind that.
    pub async fn start(target: impl ToString) -> Self {
        let target = target.to_string();
        let target = target.split_once("://").map_or(target.as_str(), |(_, rest)| rest);
        let target = target.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (orders, inbox) = mpsc::channel(8);
        let open = Arc::new(AtomicUsize::new(0));
        let gate = Gate {
            addr,
            target,
            mode: watch::Sender::default(),
            open: open.clone(),
            links: TaskTracker::new(),
            life: CancellationToken::new(),
        };
        let gate = AbortOnDropHandle::new(tokio::spawn(gate.run(listener, inbox)));
        Self { addr, orders, open, _gate: gate }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As an HTTP address.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn nats_url(&self) -> String {
        format!("nats://{}", self.addr)
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Changes the mode; returns when it is in force.
    pub async fn set(&self, mode: Mode) {
        self.order(|done| Order::Mode(mode, done)).await;
    }

    /// Closes every connection and keeps the mode.
    pub async fn cut(&self) {
        self.order(Order::Cut).await;
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, answer) = oneshot::channel();
        self.orders.send(order(done)).await.expect("the gate runs as long as its proxy lives");
        answer.await.expect("the gate answers every order");
    }
}

/// The port: listening, or bound without listening, which refuses.
enum Port {
    Open(TcpListener),
    Shut(TcpSocket),
}

struct Gate {
    addr: SocketAddr,
    target: String,
    mode: watch::Sender<Mode>,
    open: Arc<AtomicUsize>,
    links: TaskTracker,
    life: CancellationToken,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.life.cancel();
    }
}

impl Gate {
    async fn run(mut self, listener: TcpListener, mut inbox: mpsc::Receiver<Order>) {
        let mut port = Port::Open(listener);
        loop {
            let order = tokio::select! {
                biased;
                order = inbox.recv() => order,
                stream = accept(&port) => {
                    self.open(stream);
                    continue;
                }
            };
            let Some(order) = order else { return };
            let done = match order {
                Order::Cut(done) => {
                    self.cut().await;
                    done
                }
                Order::Mode(mode, done) => {
                    self.mode.send_replace(mode);
                    port = self.shift(port, mode).await;
                    done
                }
            };
            // Whoever gave the order may have stopped waiting for it.
            let _ = done.send(());
        }
    }

    async fn shift(&mut self, port: Port, mode: Mode) -> Port {
        match (port, mode) {
            (Port::Open(listener), Mode::Refuse) => {
                drop(listener);
                // At once, before anybody else is given the port. A connection out of here may have it all the same, and
                // nobody tells when it is free.
                let socket = loop {
                    match bound(self.addr) {
                        Ok(socket) => break socket,
                        Err(_) => tokio::time::sleep(TAKEN).await,
                    }
                };
                self.cut().await;
                Port::Shut(socket)
            }
            (Port::Shut(socket), Mode::Refuse) => Port::Shut(socket),
            (Port::Shut(socket), _) => Port::Open(socket.listen(BACKLOG).expect("a bound socket can listen")),
            (open, _) => open,
        }
    }

    /// Ends every connection, and returns when the last has ended.
    async fn cut(&mut self) {
        self.life.cancel();
        self.links.close();
        self.links.wait().await;
        self.links.reopen();
        self.life = CancellationToken::new();
    }

    fn open(&self, stream: TcpStream) {
        let (target, mode, life) = (self.target.clone(), self.mode.subscribe(), self.life.clone());
        let count = Count::one(&self.open);
        self.links.spawn(async move {
            let _count = count;
            // A connection that fails is one that closes: the proxy has nobody to tell.
            let _ = life.run_until_cancelled(link(stream, target, mode)).await;
        });
    }
}

async fn accept(port: &Port) -> TcpStream {
    match port {
        Port::Open(listener) => loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                // Out of descriptors: the only remedy is to let some connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        },
        Port::Shut(_) => std::future::pending().await,
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

struct Count(Arc<AtomicUsize>);

impl Count {
    fn one(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, SeqCst);
        Self(of.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

async fn link(near: TcpStream, target: String, mut mode: watch::Receiver<Mode>) -> io::Result<()> {
    audible(&mut mode).await;
    let far = TcpStream::connect(&target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let there = pump(near_read, far_write, mode.clone());
    let back = pump(far_read, near_write, mode);
    tokio::try_join!(there, back)?;
    Ok(())
}

/// Waits until the mode is one in which anything is heard.
async fn audible(mode: &mut watch::Receiver<Mode>) -> Mode {
    let heard = mode.wait_for(|mode| *mode != Mode::Blackhole).await.map(|mode| *mode);
    match heard {
        Ok(mode) => mode,
        // The gate is gone, and this connection goes with it.
        Err(_) => std::future::pending().await,
    }
}

/// One direction: what is read carries the moment from which it may be written. An empty piece is the end.
async fn pump(from: OwnedReadHalf, to: OwnedWriteHalf, mode: watch::Receiver<Mode>) -> io::Result<()> {
    let (pieces, arrived) = mpsc::channel(UNDER_WAY);
    tokio::try_join!(read(from, pieces, mode.clone()), write(to, arrived, mode))?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    pieces: mpsc::Sender<(Instant, Bytes)>,
    mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ);
    loop {
        buffer.reserve(READ);
        let read = from.read_buf(&mut buffer).await?;
        let late = match *mode.borrow() {
            Mode::Delay(late) => late,
            _ => Duration::ZERO,
        };
        let sent = pieces.send((Instant::now() + late, buffer.split().freeze())).await;
        if read == 0 || sent.is_err() {
            return Ok(());
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut arrived: mpsc::Receiver<(Instant, Bytes)>,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut free = Instant::now();
    while let Some((due, mut piece)) = arrived.recv().await {
        if due > Instant::now() {
            sleep_until(due).await;
        }
        let mut now = audible(&mut mode).await;
        if piece.is_empty() {
            return to.shutdown().await;
        }
        while !piece.is_empty() {
            let Mode::Throttle(rate) = now else {
                to.write_all(&piece).await?;
                break;
            };
            let rate = rate.max(1);
            let part = piece.split_to(usize::try_from(rate.div_ceil(50)).unwrap_or(READ).min(piece.len()));
            free = free.max(Instant::now()) + Duration::from_secs_f64(part.len() as f64 / rate as f64);
            to.write_all(&part).await?;
            tokio::select! {
                () = sleep_until(free) => {}
                _ = mode.changed() => {}
            }
            now = audible(&mut mode).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
