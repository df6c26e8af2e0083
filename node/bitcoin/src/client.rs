//! One connection to a Bitcoin node: log-in, checks of who answers, timeouts, retries and the circuit breaker.
//!
//! The calls themselves are in the modules named after what they are about.

use crate::auth::Credentials;
use crate::breaker::{BreakerState, CallEnd, CircuitBreaker, Permit};
use crate::config::{ConfigError, NodeConfig};
use crate::error::{RpcCode, RpcError};
use crate::identity::{ChainName, NetworkInfo, NodeIdentity, judge};
use bitcoin::{BlockHash, Network};
use jsonrpc::bitreq_http_async as http;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// A client of one Bitcoin node. Cheap to clone; clones share log-in and circuit breaker.
///
/// No call is answered by a node that was not checked ([`crate::NodeMismatch`]) since it was last unreachable or
/// changed its cookie.
#[derive(Clone)]
pub struct BitcoinClient {
    inner: Arc<Inner>,
}

struct Inner {
    config: NodeConfig,
    /// The configured address, with a wallet's path for a wallet's client.
    url: String,
    /// `None` until the first call and after each failure to reach the node.
    session: Mutex<Option<Arc<Session>>>,
    breaker: Mutex<CircuitBreaker>,
    started: Instant,
}

/// What holds from one failure to reach the node to the next.
struct Session {
    rpc: corepc_client::Client,
    identity: OnceCell<NodeIdentity>,
}

impl fmt::Debug for BitcoinClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BitcoinClient")
            .field("url", &self.inner.url)
            .field("network", &self.inner.config.network)
            .finish_non_exhaustive()
    }
}

/// Tries of one call so far.
#[derive(Default)]
struct Retries {
    failures: u32,
    last: Option<RpcError>,
}

impl BitcoinClient {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// - [`ConfigError`] where the configuration cannot be used.
    pub fn new(config: NodeConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let url = config.url.clone();
        Ok(Self::at(config, url))
    }

    fn at(config: NodeConfig, url: String) -> Self {
        let breaker = CircuitBreaker::new(config.breaker);
        Self {
            inner: Arc::new(Inner {
                config,
                url,
                session: Mutex::default(),
                breaker: Mutex::new(breaker),
                started: Instant::now(),
            }),
        }
    }

    /// A client of one wallet of the same node.
    pub(crate) fn for_wallet(&self, name: &str) -> Self {
        let config = self.inner.config.clone();
        let url = format!("{}/wallet/{name}", config.url);
        Self::at(config, url)
    }

    /// The network that the node must be on.
    pub fn network(&self) -> Network {
        self.inner.config.network
    }

    /// Whether calls go through at present, for health reports.
    pub fn circuit(&self) -> BreakerState {
        lock(&self.inner.breaker).state()
    }

    /// Checks that the node is reachable and one that this federation can use; every other call does so by itself.
    ///
    /// # Errors
    /// - [`RpcError::WrongNode`] where it is another network's node, too old, or one that leaves Bitcoin;
    /// - any other [`RpcError`] where the node does not answer.
    pub async fn verify(&self) -> Result<NodeIdentity, RpcError> {
        let mut retries = Retries::default();
        loop {
            match self.identity().await {
                Ok(identity) => return Ok(identity),
                Err(error) => self.wait_or_give_up(&mut retries, error).await?,
            }
        }
    }

    async fn identity(&self) -> Result<NodeIdentity, RpcError> {
        let session = self.verified_session().await?;
        // Filled by `verified_session`; empty cannot happen.
        let identity = session.identity.get().cloned();
        identity.ok_or_else(|| RpcError::malformed("getnetworkinfo", "no identity"))
    }

    /// A call that has the same effect when made twice: repeated while the node is unreachable.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<T, RpcError> {
        let mut retries = Retries::default();
        loop {
            let timeout = self.inner.config.call_timeout;
            match self.call_once(method, params, timeout).await {
                Ok(value) => return Ok(value),
                Err(error) => self.wait_or_give_up(&mut retries, error).await?,
            }
        }
    }

    /// A call that is made at most once, with its own time limit.
    pub(crate) async fn call_once<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
        timeout: Duration,
    ) -> Result<T, RpcError> {
        let first = self.call_verified(method, params, timeout).await;
        match first {
            // The node restarted and wrote a new cookie. A refused log-in means that nothing was done, so that even
            // a call which must not be repeated may be made with the new one.
            Err(RpcError::Unauthorized { .. })
                if matches!(self.inner.config.credentials, Credentials::CookieFile(_)) =>
            {
                self.call_verified(method, params, timeout).await
            }
            other => other,
        }
    }

    /// A call that takes longer than `corepc-client` waits (60 s), such as a scan of all unspent outputs.
    pub(crate) async fn call_long<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
        timeout: Duration,
    ) -> Result<T, RpcError> {
        self.verified_session().await?;
        let login = self.inner.config.credentials.read()?;
        let transport = http::Builder::new()
            .timeout(timeout)
            .basic_auth((*login.user).clone(), Some((*login.password).clone()))
            .url(&self.inner.url)
            .map_err(|error| self.unreachable(method, error))?
            .build();
        let rpc = jsonrpc::client_async::Client::with_transport(transport);
        let params = serde_json::value::to_raw_value(params)
            .map_err(|error| RpcError::malformed(method, error))?;
        let reply = tokio::time::timeout(timeout, rpc.call(method, Some(&params))).await;
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(self.classify(method, error)),
            Err(_) => Err(self.unreachable(method, format!("no answer in {timeout:?}"))),
        }
    }

    /// Waits before another try while the node is unreachable and the circuit closed; otherwise gives up with the error of
    /// the last try that was really made.
    async fn wait_or_give_up(
        &self,
        retries: &mut Retries,
        error: RpcError,
    ) -> Result<(), RpcError> {
        if matches!(error, RpcError::CircuitOpen { .. }) {
            return Err(retries.last.take().unwrap_or(error));
        }
        retries.failures += 1;
        if !error.is_unreachable() || retries.failures >= self.inner.config.attempts {
            return Err(error);
        }
        let wait = self.inner.config.retry.wait(retries.failures, random());
        tracing::debug!(%error, ?wait, "Bitcoin call will be repeated");
        retries.last = Some(error);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn call_verified<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
        timeout: Duration,
    ) -> Result<T, RpcError> {
        let session = self.verified_session().await?;
        self.attempt(&session, method, params, timeout).await
    }

    async fn verified_session(&self) -> Result<Arc<Session>, RpcError> {
        let session = self.session()?;
        session
            .identity
            .get_or_try_init(|| self.identify(&session))
            .await?;
        Ok(session)
    }

    async fn identify(&self, session: &Session) -> Result<NodeIdentity, RpcError> {
        let limit = self.inner.config.call_timeout;
        let network: NetworkInfo = self.attempt(session, "getnetworkinfo", &[], limit).await?;
        let chain: ChainName = self
            .attempt(session, "getblockchaininfo", &[], limit)
            .await?;
        let genesis: BlockHash = self
            .attempt(session, "getblockhash", &[json!(0)], limit)
            .await?;
        let identity = judge(self.network(), network, chain, genesis)
            .map_err(|mismatch| mismatch.at(&self.inner.url))?;
        tracing::info!(url = %self.inner.url, version = %identity.version, subversion = %identity.subversion,
            network = %identity.network, pruned = identity.pruned, "Bitcoin node checked");
        Ok(identity)
    }

    fn session(&self) -> Result<Arc<Session>, RpcError> {
        let mut held = lock(&self.inner.session);
        if let Some(session) = held.as_ref() {
            return Ok(Arc::clone(session));
        }
        let login = self.inner.config.credentials.read()?;
        let auth = corepc_client::Auth::UserPass((*login.user).clone(), (*login.password).clone());
        let rpc = corepc_client::Client::new_with_auth(&self.inner.url, auth)
            .map_err(|error| self.unreachable("connect", error))?;
        let session = Arc::new(Session {
            rpc,
            identity: OnceCell::new(),
        });
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    /// One attempt, within the circuit breaker.
    async fn attempt<T: DeserializeOwned>(
        &self,
        session: &Session,
        method: &'static str,
        params: &[Value],
        timeout: Duration,
    ) -> Result<T, RpcError> {
        let permit = self.permit()?;
        let reply = tokio::time::timeout(timeout, session.rpc.call(method, params)).await;
        let result = match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(corepc_client::Error::JsonRpc(error))) => Err(self.classify(method, error)),
            Ok(Err(error)) => Err(RpcError::malformed(method, error)),
            Err(_) => Err(self.unreachable(method, format!("no answer in {timeout:?}"))),
        };
        permit.finish(match &result {
            Err(RpcError::Unreachable { .. } | RpcError::Unauthorized { .. }) => {
                // Whoever answers next may be another node, with another cookie.
                self.forget(session);
                CallEnd::Failed
            }
            _ => CallEnd::Answered,
        });
        result
    }

    fn forget(&self, session: &Session) {
        let mut held = lock(&self.inner.session);
        if held
            .as_ref()
            .is_some_and(|held| std::ptr::eq(&**held, session))
        {
            *held = None;
        }
    }

    fn permit(&self) -> Result<HeldPermit<'_>, RpcError> {
        let permit = lock(&self.inner.breaker)
            .admit(self.inner.started.elapsed())
            .map_err(|open| RpcError::CircuitOpen {
                url: self.inner.url.clone(),
                retry_in: open.retry_in,
            })?;
        Ok(HeldPermit {
            client: self,
            permit: Some(permit),
        })
    }

    fn classify(&self, method: &'static str, error: jsonrpc::Error) -> RpcError {
        match error {
            jsonrpc::Error::Rpc(refusal) if refusal.code == RpcCode::IN_WARMUP.get() => {
                RpcError::Starting {
                    url: self.inner.url.clone(),
                    message: refusal.message,
                }
            }
            jsonrpc::Error::Rpc(refusal) => RpcError::Refused {
                method,
                code: RpcCode::new(refusal.code),
                message: refusal.message,
            },
            jsonrpc::Error::Transport(error) => match error.downcast_ref::<http::Error>() {
                Some(http::Error::Http(reply)) if matches!(reply.status_code, 401 | 403) => {
                    RpcError::Unauthorized {
                        url: self.inner.url.clone(),
                        path: self.inner.config.credentials.path().to_owned(),
                    }
                }
                _ => self.unreachable(method, error),
            },
            other => RpcError::malformed(method, other),
        }
    }

    fn unreachable(&self, method: &'static str, reason: impl fmt::Display) -> RpcError {
        RpcError::Unreachable {
            method,
            url: self.inner.url.clone(),
            reason: reason.to_string(),
        }
    }
}

/// Gives the permit back even where the call's future is dropped half-way.
struct HeldPermit<'a> {
    client: &'a BitcoinClient,
    permit: Option<Permit>,
}

impl HeldPermit<'_> {
    fn finish(mut self, end: CallEnd) {
        self.give_back(end);
    }

    fn give_back(&mut self, end: CallEnd) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let inner = &self.client.inner;
        let mut breaker = lock(&inner.breaker);
        let before = breaker.state();
        breaker.finish(permit, end, inner.started.elapsed(), random());
        match (before, breaker.state()) {
            (BreakerState::Closed, BreakerState::Open) => {
                tracing::warn!(url = %inner.url, "Bitcoin node fails repeatedly: calls are held back");
            }
            (BreakerState::HalfOpen, BreakerState::Closed) => {
                tracing::info!(url = %inner.url, "Bitcoin node is back");
            }
            _ => {}
        }
    }
}

impl Drop for HeldPermit<'_> {
    fn drop(&mut self) {
        self.give_back(CallEnd::Abandoned);
    }
}

/// Randomness for jitter only; without any, waits are merely regular.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

/// The states behind these locks are replaced whole, so a panic elsewhere cannot leave one half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
