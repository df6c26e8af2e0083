//! Accepts connections, reads frames, and hands requests to the engine.

use crate::audit::recorder::TurnedAwayFor;
use crate::authority::{self, Operation};
use crate::config::Limits;
use crate::engine::{Asker, Engine};
use crate::limits::{Admission, LogThrottle, RateLimiter};
use crate::metrics::Watch;
use crate::tls::{Identity, IdentityError, Transport, WARN_DAYS};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    MAX_FRAME_BYTES, PROTOCOL_VERSION, ProtocolError, Refusal, Reply, Request, RequestEnvelope,
    decode_frame, encode_frame,
};
use alys_signer_client::frame::{self, ReadError};
use alys_signer_client::time::{date, days_left};
use rustls::pki_types::UnixTime;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_rustls::server::TlsStream;

/// How often the log has its turn: a refusal is durable that long after it was given.
const TICK: Duration = Duration::from_secs(1);

/// Who answers what the transport lets through. All of it may block.
pub trait Answers: core::fmt::Debug + Send + Sync + 'static {
    /// Answers a request that its sender may make; `body` is what it was read from.
    fn handle(&self, asker: Asker, body: &[u8], request: &Request) -> Reply;
    /// Counts a request that was turned away unjudged.
    fn turned_away(&self, asker: Asker, reason: TurnedAwayFor);
    /// What is to be done about once a second.
    fn tick(&self);
    /// The orderly end, after the last request.
    fn close(&self);
}

impl Answers for Engine {
    fn handle(&self, asker: Asker, body: &[u8], request: &Request) -> Reply {
        Self::handle(self, asker, body, request)
    }

    fn turned_away(&self, asker: Asker, reason: TurnedAwayFor) {
        Self::turned_away(self, asker, reason);
    }

    fn tick(&self) {
        Self::tick(self);
    }

    fn close(&self) {
        Self::close(self);
    }
}

/// A server that is ready to run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    watch: Option<(Watch, Arc<Engine>)>,
}

struct Shared {
    /// A new one ends the connections under the one before.
    transport: watch::Sender<Transport>,
    engine: Arc<dyn Answers>,
    limits: Limits,
    rate: RateLimiter,
    strangers: LogThrottle,
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

struct Peer {
    identity: Identity,
    address: SocketAddr,
}

impl Peer {
    fn asker(&self) -> Asker {
        Asker {
            role: self.identity.role,
            certificate: self.identity.fingerprint,
        }
    }

    fn log(&self) {
        let Identity {
            role,
            fingerprint,
            certificate,
            key_exchange,
            ends: _,
        } = &self.identity;
        let (serial, name) = (&certificate.serial, &certificate.subject);
        let left = days_left(certificate.not_after, UnixTime::now());
        tracing::info!(
            address = %self.address, %role, certificate = %fingerprint, %serial, name, %key_exchange,
            days_left = left, "connected"
        );
        if left < WARN_DAYS {
            tracing::warn!(
                %role, %serial, name, not_after = date(certificate.not_after),
                "this client's certificate ends soon"
            );
        }
    }
}

impl Server {
    /// A server on a bound listener.
    pub fn new(
        listener: TcpListener,
        transport: Transport,
        engine: Arc<dyn Answers>,
        limits: Limits,
    ) -> Self {
        Self {
            listener,
            shared: Arc::new(Shared {
                transport: watch::Sender::new(transport),
                engine,
                rate: RateLimiter::new(&limits),
                strangers: LogThrottle::default(),
                limits,
            }),
            watch: None,
        }
    }

    /// Has `watch` look at `engine` once a second.
    #[must_use]
    pub fn with_watch(mut self, watch: Watch, engine: Arc<Engine>) -> Self {
        self.watch = Some((watch, engine));
        self
    }

    /// What changes the certificates while it serves.
    pub fn renewer(&self) -> Renewer {
        Renewer(self.shared.clone())
    }

    /// Serves until `stop` becomes true, then lets requests under way finish.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let connections = u32::try_from(self.shared.limits.connections).unwrap_or(u32::MAX);
        let slots = Arc::new(Semaphore::new(connections as usize));
        let keeper = tokio::spawn(keep_log(self.shared.engine.clone(), stop.clone()));
        let watcher = self
            .watch
            .map(|(watch, engine)| tokio::spawn(keep_watch(watch, engine, stop.clone())));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or a peer that left in the queue. Spinning would not help.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                self.shared
                    .log_stranger(address, &"too many connections, this one is closed");
                continue;
            };
            let (shared, stop) = (self.shared.clone(), stop.clone());
            tokio::spawn(async move {
                shared.serve(stream, address, stop).await;
                drop(slot);
            });
        }
        drop(self.listener);
        // Every connection has given its slot back.
        let _ = slots.acquire_many(connections).await;
        let engine = self.shared.engine.clone();
        let closing = async {
            keeper.await?;
            tokio::task::spawn_blocking(move || engine.close()).await
        };
        if let Err(error) = closing.await {
            tracing::error!(%error, "the audit log ends without a checkpoint");
        }
        if let Some(watcher) = watcher
            && let Err(error) = watcher.await
        {
            tracing::error!(%error, "the watch was cut short");
        }
    }
}

/// Changes a running server's certificates.
#[derive(Debug)]
pub struct Renewer(Arc<Shared>);

impl Renewer {
    /// From now on only clients that `transport` takes. Connections of before end after the request under way, so that
    /// nobody stays on who would be turned away now; clients come back by themselves.
    pub fn renew(&self, transport: Transport) {
        self.0.transport.send_replace(transport);
    }
}

/// Gives the log its turn until `stop` becomes true.
async fn keep_log(engine: Arc<dyn Answers>, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let engine = engine.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || engine.tick()).await {
            tracing::error!(%error, "the audit log was not kept");
        }
    }
}

/// Gives the watch its turn until `stop` becomes true. A token that hangs holds up nothing else.
async fn keep_watch(mut watch: Watch, engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_over = tokio::select! {
            _ = every.tick() => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        let engine = engine.clone();
        let turn = tokio::task::spawn_blocking(move || {
            if is_over {
                watch.end();
            } else {
                watch.turn(&engine);
            }
            watch
        });
        watch = match turn.await {
            Ok(watch) if !is_over => watch,
            Ok(_) => return,
            Err(error) => {
                tracing::error!(%error, "the watch was cut short");
                return;
            }
        };
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream, address: SocketAddr, mut stop: watch::Receiver<bool>) {
        let limit = Duration::from_millis(self.limits.handshake_timeout_ms);
        let mut renewed = self.transport.subscribe();
        let transport = renewed.borrow_and_update().clone();
        let handshake = async {
            stream.set_nodelay(true)?;
            transport.acceptor.accept(stream).await
        };
        let mut stream = match timeout(limit, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let why = transport.explain(&error);
                self.log_stranger(address, &format_args!("TLS handshake failed: {why}"));
                return;
            }
            Err(_elapsed) => {
                self.log_stranger(address, &format_args!("no TLS handshake within {limit:?}"));
                return;
            }
        };
        let identity = match transport.identify(stream.get_ref().1) {
            Ok(identity) => identity,
            Err(error) => return turn_away(stream, address, &error).await,
        };
        let peer = Peer { identity, address };
        peer.log();
        while self
            .serve_one(&mut stream, &peer, &mut stop, &mut renewed)
            .await
        {}
        close(&mut stream).await;
    }

    fn log_stranger(&self, address: SocketAddr, what: &dyn core::fmt::Display) {
        if let Some(unlogged) = self.strangers.admit(Instant::now()) {
            tracing::warn!(%address, unlogged, "{what}");
        }
    }

    /// Serves one request; false where the connection ends. A stop and new certificates are heeded before a request, never
    /// during one.
    async fn serve_one(
        &self,
        stream: &mut TlsStream<TcpStream>,
        peer: &Peer,
        stop: &mut watch::Receiver<bool>,
        renewed: &mut watch::Receiver<Transport>,
    ) -> bool {
        let idle = Duration::from_millis(self.limits.idle_timeout_ms);
        let limit = Duration::from_millis(self.limits.frame_timeout_ms);
        let length = tokio::select! {
            length = timeout(idle, frame::read_length(stream)) => length,
            _ = stop.wait_for(|stop| *stop) => return false,
            _ = renewed.changed() => return false,
        };
        let length = match length {
            Ok(Ok(Some(length))) => length,
            Ok(Ok(None)) | Err(_) => return false,
            Ok(Err(error)) => return self.malformed(stream, peer, &error).await,
        };
        // Verified when the connection was made, which votes keep open for ever.
        if UnixTime::now() >= peer.identity.ends {
            tracing::warn!(address = %peer.address, role = %peer.identity.role, "its certificate or the revocation list has ended; the connection ends");
            return false;
        }
        let body = match timeout(limit, frame::read_body(stream, length)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return self.malformed(stream, peer, &error.into()).await,
            Err(_elapsed) => return false,
        };
        let (reply, more) = self.answer(peer, body).await;
        let Ok(frame) = encode_frame(&reply) else {
            return false;
        };
        matches!(
            timeout(limit, frame::write_frame(stream, &frame)).await,
            Ok(Ok(()))
        ) && more
    }

    async fn malformed(
        &self,
        stream: &mut TlsStream<TcpStream>,
        peer: &Peer,
        error: &ReadError,
    ) -> bool {
        tracing::warn!(address = %peer.address, role = %peer.identity.role, %error, "unreadable frame");
        let ReadError::Frame(error) = error else {
            return false;
        };
        self.engine
            .turned_away(peer.asker(), TurnedAwayFor::Malformed);
        let reply = Reply::Error(ProtocolError::Malformed(error.to_string()));
        if let Ok(frame) = encode_frame(&reply) {
            let limit = Duration::from_millis(self.limits.frame_timeout_ms);
            // The connection ends in any case.
            let _ = timeout(limit, frame::write_frame(stream, &frame)).await;
        }
        false
    }

    async fn answer(&self, peer: &Peer, body: Vec<u8>) -> (Reply, bool) {
        if let Admission::Dropped { report } =
            self.rate.admit(peer.identity.fingerprint, Instant::now())
        {
            self.engine
                .turned_away(peer.asker(), TurnedAwayFor::TooMany);
            if let Some(dropped) = report {
                tracing::warn!(role = %peer.identity.role, certificate = %peer.identity.fingerprint, dropped, rule = %Rule::Rate, "too many requests");
            }
            let refusal = Refusal {
                rule: Rule::Rate,
                expected: format!(
                    "at most {} requests per second",
                    self.limits.requests_per_second
                ),
                found: "more".to_owned(),
            };
            return (Reply::Refused(refusal), true);
        }
        let request = match parse(&body) {
            Ok(request) => request,
            Err(error) => {
                self.engine
                    .turned_away(peer.asker(), TurnedAwayFor::Malformed);
                tracing::warn!(address = %peer.address, role = %peer.identity.role, ?error, "not a request");
                return (Reply::Error(error), false);
            }
        };
        let operation = Operation::of(&request);
        if !authority::may(peer.identity.role, operation) {
            self.engine
                .turned_away(peer.asker(), TurnedAwayFor::Forbidden);
            tracing::warn!(role = %peer.identity.role, certificate = %peer.identity.fingerprint, operation = operation.name(), "forbidden");
            let error = ProtocolError::Forbidden {
                role: peer.identity.role.name().to_owned(),
                operation: operation.name().to_owned(),
            };
            return (Reply::Error(error), true);
        }
        let (engine, asker) = (self.engine.clone(), peer.asker());
        let reply =
            tokio::task::spawn_blocking(move || engine.handle(asker, &body, &request)).await;
        let reply = reply.unwrap_or_else(|error| {
            tracing::error!(%error, "a decision was cut short; nothing was released");
            Reply::Error(ProtocolError::Internal(
                "a decision was cut short".to_owned(),
            ))
        });
        (reply, true)
    }
}

/// The version first: an envelope of another version may not even parse.
pub(crate) fn parse(body: &[u8]) -> Result<Request, ProtocolError> {
    let malformed = |reason: &dyn core::fmt::Display| ProtocolError::Malformed(reason.to_string());
    let (version, _) = postcard::take_from_bytes::<u16>(body)
        .map_err(|_| malformed(&"expected a version first"))?;
    if version != PROTOCOL_VERSION {
        return Err(ProtocolError::Version {
            expected: PROTOCOL_VERSION,
            found: version,
        });
    }
    decode_frame::<RequestEnvelope>(body)
        .map(|envelope| envelope.request)
        .map_err(|error| malformed(&error))
}

/// Says why a client of no role is not served.
async fn turn_away(mut stream: TlsStream<TcpStream>, address: SocketAddr, error: &IdentityError) {
    tracing::warn!(%address, %error, "certificate without a role");
    let reply = Reply::Error(ProtocolError::Forbidden {
        role: "none".to_owned(),
        operation: format!("any: {error}"),
    });
    if let Ok(frame) = encode_frame(&reply) {
        let limit = Duration::from_secs(5);
        let _ = timeout(limit, frame::write_frame(&mut stream, &frame)).await;
    }
    close(&mut stream).await;
}

/// Says goodbye, and reads what the peer is still sending: unread bytes would make the kernel reset the connection, and
/// the peer would never see the last reply.
async fn close(stream: &mut TlsStream<TcpStream>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let goodbye = async {
        // The peer may be gone.
        let _ = stream.shutdown().await;
        let mut rest = stream.take(2 * MAX_FRAME_BYTES as u64);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    };
    let _ = timeout(Duration::from_secs(1), goodbye).await;
}
