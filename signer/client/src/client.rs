//! The client.

use crate::config::ClientConfig;
use crate::error::{ClientError, connection_error};
use crate::frame::{self, ReadError};
use crate::link::Link;
use crate::revocation::SeenLists;
use crate::tls::Connector;
use alys_protocol::bls::BlsSignature;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::SpecDigest;
use alys_protocol::header::Header;
use alys_protocol::signer::{
    ApproveRequest, BitcoinHeaderBytes, BitcoinStanding, Challenge, MAX_BITCOIN_HEADERS,
    PROTOCOL_VERSION, PegOutRequest, ProtocolError, Reply, Request, RequestEnvelope,
    SchnorrSignature, SignedStatement, SignerStatus, decode_frame, encode_frame,
};
use alys_protocol::units::{ChainId, MemberId, StatementNumber};
use rustls::pki_types::{ServerName, UnixTime};
use std::io;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// What the signer must say of itself; checked on every new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The chain.
    pub chain_id: ChainId,
    /// Digest of the chain spec ([`alys_protocol::spec::Chain::digest`]).
    pub spec: SpecDigest,
    /// The member whose keys it holds, where the client knows.
    pub member: Option<MemberId>,
}

/// A connection to a signer that is made anew whenever it breaks. Requests go one at a time.
pub struct SignerClient {
    config: ClientConfig,
    expected: Option<Expected>,
    connector: RwLock<Connector>,
    seen: std::sync::Mutex<SeenLists>,
    link: watch::Sender<Option<Link>>,
    server_name: ServerName<'static>,
    stream: Mutex<Option<TlsStream<TcpStream>>>,
}

impl core::fmt::Debug for SignerClient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SignerClient")
            .field("config", &self.config)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl SignerClient {
    /// Reads certificates and keys. Connects at the first request; `expected: None` accepts any signer that the CA vouches
    /// for, which is for tools only.
    ///
    /// # Errors
    /// - [`ClientError::Config`] where a file of the configuration cannot be used.
    pub fn new(config: ClientConfig, expected: Option<Expected>) -> Result<Self, ClientError> {
        let mut seen = SeenLists::default();
        let connector = Connector::read(&config, &mut seen)?;
        let server_name =
            ServerName::try_from(config.server_name.clone()).map_err(|_| ClientError::Config {
                path: "server_name".into(),
                reason: format!("expected a DNS name, found {:?}", config.server_name),
            })?;
        Ok(Self {
            connector: RwLock::new(connector),
            seen: std::sync::Mutex::new(seen),
            link: watch::Sender::new(None),
            server_name,
            expected,
            stream: Mutex::new(None),
            config,
        })
    }

    /// [`SignerClient::new`], then connects and checks that the signer is the expected one.
    ///
    /// # Errors
    /// - [`ClientError::Config`], [`ClientError::Unreachable`], [`ClientError::Certificate`] as for any request;
    /// - [`ClientError::WrongSigner`] where it serves another chain, spec or member.
    pub async fn connect(config: ClientConfig, expected: Expected) -> Result<Self, ClientError> {
        let client = Self::new(config, Some(expected))?;
        client.status().await?;
        Ok(client)
    }

    /// Reads certificates, keys and revocation lists again, and connects under them from the next request on. A request
    /// under way finishes.
    ///
    /// # Errors
    /// - [`ClientError::Config`] where a file cannot be used; the old ones stay.
    pub async fn renew(&self) -> Result<(), ClientError> {
        let renewed = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Connector::read(&self.config, &mut seen)?
        };
        let mut stream = self.stream.lock().await;
        *self
            .connector
            .write()
            .unwrap_or_else(PoisonError::into_inner) = renewed;
        *stream = None;
        Ok(())
    }

    /// What the newest connection turned out to be, and each one from now on; `None` before the first.
    pub fn link(&self) -> watch::Receiver<Option<Link>> {
        self.link.subscribe()
    }

    /// Who the signer is and where it stands.
    ///
    /// # Errors
    /// - every [`ClientError`] but [`ClientError::Refused`].
    pub async fn status(&self) -> Result<SignerStatus, ClientError> {
        match self.request(Request::Status).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(unexpected("status", other)),
        }
    }

    /// The leader's signature under its own proposal.
    ///
    /// # Errors
    /// - [`ClientError::Refused`] where a rule forbids it, and every other [`ClientError`].
    pub async fn sign_proposal(&self, header: &Header) -> Result<BlsSignature, ClientError> {
        let request = Request::SignProposal(Box::new(header.clone()));
        signature(self.request(request).await?)
    }

    /// A vote: the signature of an approval of `request.header`.
    ///
    /// # Errors
    /// - [`ClientError::Refused`] where a rule forbids it, and every other [`ClientError`].
    pub async fn approve(&self, request: ApproveRequest) -> Result<BlsSignature, ClientError> {
        signature(self.request(Request::Approve(Box::new(request))).await?)
    }

    /// Schnorr signatures for a recorded batch, one for each input.
    ///
    /// # Errors
    /// - [`ClientError::Refused`] where a rule forbids it, and every other [`ClientError`].
    pub async fn sign_peg_out(
        &self,
        request: PegOutRequest,
    ) -> Result<Vec<SchnorrSignature>, ClientError> {
        match self.request(Request::SignPegOut(Box::new(request))).await? {
            Reply::Shares(shares) => Ok(shares.into_inner()),
            other => Err(unexpected("shares", other)),
        }
    }

    /// Bitcoin headers, each the child of the one before, for the signer's own chain of them; where that stands then.
    ///
    /// # Errors
    /// - [`ClientError::Refused`] where a rule forbids it, and every other [`ClientError`].
    pub async fn bitcoin_headers(
        &self,
        headers: BoundedVec<BitcoinHeaderBytes, MAX_BITCOIN_HEADERS>,
    ) -> Result<BitcoinStanding, ClientError> {
        match self.request(Request::BitcoinHeaders(headers)).await? {
            Reply::Bitcoin(standing) => Ok(standing),
            other => Err(unexpected("bitcoin", other)),
        }
    }

    /// What a statement that vouches for the signer's state must answer.
    ///
    /// # Errors
    /// - every [`ClientError`] but [`ClientError::Refused`].
    pub async fn challenge(&self) -> Result<Challenge, ClientError> {
        match self.request(Request::Challenge).await? {
            Reply::Challenge(challenge) => Ok(*challenge),
            other => Err(unexpected("challenge", other)),
        }
    }

    /// Hands in what officers say. Its number, once it is in force.
    ///
    /// # Errors
    /// - [`ClientError::Refused`] where a rule forbids it, and every other [`ClientError`].
    pub async fn statement(&self, signed: SignedStatement) -> Result<StatementNumber, ClientError> {
        match self.request(Request::Statement(Box::new(signed))).await? {
            Reply::Stated(number) => Ok(number),
            other => Err(unexpected("stated", other)),
        }
    }

    /// Sends any request. Where the connection breaks, it is made anew and the request repeated once: a repeat gets the
    /// same signature. A signer ends connections when it reads its certificates again, new ones among them.
    ///
    /// # Errors
    /// - [`ClientError`] where no reply came; refusals and errors of the signer are replies here.
    pub async fn request(&self, request: Request) -> Result<Reply, ClientError> {
        let frame = envelope(request)?;
        let mut slot = self.stream.lock().await;
        let was_open = slot.is_some();
        match self.attempt(&mut slot, &frame).await {
            Err(ClientError::Unreachable { reason, .. }) => {
                tracing::debug!(%reason, "the connection to the signer broke, reconnecting");
            }
            // What an old connection says last need not be what the signer says to a new one.
            Err(error) if was_open && !matches!(error, ClientError::Timeout { .. }) => {
                tracing::debug!(%error, "the connection to the signer broke, reconnecting");
            }
            done => return done,
        }
        self.attempt(&mut slot, &frame).await
    }

    /// Over the connection in `slot` or a new one, which stays there if it can be used again.
    async fn attempt(
        &self,
        slot: &mut Option<TlsStream<TcpStream>>,
        frame: &[u8],
    ) -> Result<Reply, ClientError> {
        let open = slot.take().filter(|_| self.may_stay_open());
        let mut stream = match open {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let reply = self.exchange(&mut stream, frame).await?;
        *slot = Some(stream);
        Ok(reply)
    }

    /// A certificate is verified when a connection is made, and a vote each slot keeps that open for ever.
    fn may_stay_open(&self) -> bool {
        let link = self.link.borrow();
        link.as_ref()
            .is_some_and(|link| UnixTime::now() < link.ends())
    }

    async fn open(&self) -> Result<TlsStream<TcpStream>, ClientError> {
        let limit = Duration::from_millis(self.config.connect_timeout_ms);
        let address = &self.config.address;
        let connector = {
            let connector = self.connector.read();
            connector.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let connect = async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            connector.tls().connect(self.server_name.clone(), tcp).await
        };
        let mut stream = match timeout(limit, connect).await {
            Ok(connected) => connected.map_err(|error| self.connection_error(&error))?,
            Err(_elapsed) => {
                return Err(ClientError::Timeout {
                    address: address.clone(),
                    timeout: limit,
                });
            }
        };
        let link = connector.link(&stream);
        let link = link.map_err(|reason| ClientError::Certificate {
            address: address.clone(),
            reason,
        })?;
        self.link.send_replace(Some(link));
        if let Some(expected) = &self.expected {
            match self
                .exchange(&mut stream, &envelope(Request::Status)?)
                .await?
            {
                Reply::Status(status) => self.check(expected, &status)?,
                other => return Err(unexpected("status", other)),
            }
        }
        Ok(stream)
    }

    fn connection_error(&self, error: &io::Error) -> ClientError {
        connection_error(&self.config.address, self.config.key_exchange, error)
    }

    fn check(&self, expected: &Expected, status: &SignerStatus) -> Result<(), ClientError> {
        let wrong = |what, expected: String, found: String| {
            Err(ClientError::WrongSigner {
                address: self.config.address.clone(),
                what,
                expected,
                found,
            })
        };
        if status.chain_id != expected.chain_id {
            return wrong(
                "chain id",
                expected.chain_id.to_string(),
                status.chain_id.to_string(),
            );
        }
        if status.spec != expected.spec {
            return wrong(
                "chain spec with digest",
                expected.spec.to_string(),
                status.spec.to_string(),
            );
        }
        match expected.member {
            Some(member) if member != status.member => {
                wrong("member", member.to_string(), status.member.to_string())
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn exchange(
        &self,
        stream: &mut TlsStream<TcpStream>,
        request: &[u8],
    ) -> Result<Reply, ClientError> {
        let limit = Duration::from_millis(self.config.request_timeout_ms);
        let address = &self.config.address;
        let exchange = async {
            // A signer that refuses the certificate or the frame says so before it closes: read even if writing failed.
            let written = frame::write_frame(stream, request).await;
            let reply = read_reply(stream).await;
            match (written, reply) {
                (Err(write), Err(ReadError::Io(read)))
                    if read.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    Err(ReadError::Io(write))
                }
                (_, reply) => reply,
            }
        };
        let body = match timeout(limit, exchange).await {
            Ok(Ok(body)) => body,
            Ok(Err(ReadError::Io(error))) => return Err(self.connection_error(&error)),
            Ok(Err(ReadError::Frame(error))) => return Err(error.into()),
            Err(_elapsed) => {
                return Err(ClientError::Timeout {
                    address: address.clone(),
                    timeout: limit,
                });
            }
        };
        Ok(decode_frame(&body)?)
    }
}

async fn read_reply(stream: &mut TlsStream<TcpStream>) -> Result<Vec<u8>, ReadError> {
    let length = frame::read_length(stream).await?.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the signer closed the connection",
        )
    })?;
    Ok(frame::read_body(stream, length).await?)
}

fn envelope(request: Request) -> Result<Vec<u8>, ClientError> {
    Ok(encode_frame(&RequestEnvelope {
        version: PROTOCOL_VERSION,
        request,
    })?)
}

fn signature(reply: Reply) -> Result<BlsSignature, ClientError> {
    match reply {
        Reply::Signature(signature) => Ok(signature),
        other => Err(unexpected("signature", other)),
    }
}

/// What a reply means that is not the one hoped for.
fn unexpected(expected: &'static str, reply: Reply) -> ClientError {
    match reply {
        Reply::Refused(refusal) => ClientError::Refused(refusal),
        Reply::Error(ProtocolError::Forbidden { role, operation }) => {
            ClientError::Forbidden { role, operation }
        }
        Reply::Error(error) => ClientError::Signer(error),
        Reply::Status(_)
        | Reply::Signature(_)
        | Reply::Shares(_)
        | Reply::Bitcoin(_)
        | Reply::Challenge(_)
        | Reply::Stated(_) => ClientError::Reply { expected },
    }
}
