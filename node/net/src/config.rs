//! Configuration and its checks.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::address;
use crate::message::{Heads, MAX_BLOCKS_PER_RESPONSE, Software};
use crate::topic::Topic;

/// Everything that [`Network::start`](crate::Network::start) needs. Make one with [`NetworkConfig::new`] and change
/// what differs.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// File of the node's network key; made if missing. See [`Identity`](crate::Identity).
    pub identity_path: PathBuf,
    /// Digest of the chain spec. Peers with another one are refused.
    pub spec_digest: [u8; 32],
    /// Id of the genesis block. Peers with another one are refused.
    pub genesis_id: [u8; 32],
    /// Where the chain stands at the start.
    pub heads: Heads,
    /// What this node tells about its software.
    pub software: Software,
    /// Addresses to listen on: `/ip4/../tcp/..` or `/ip4/../udp/../quic-v1`, IPv6 likewise. Default: loopback, any
    /// port, TCP and QUIC.
    pub listen: Vec<Multiaddr>,
    /// Further addresses under which others can reach this node, for example in front of a NAT.
    pub external: Vec<Multiaddr>,
    /// Entry points, with peer ids (`/ip4/../tcp/../p2p/..`). Redialed for ever. Own addresses are skipped, so that
    /// all nodes may share one list.
    pub bootnodes: Vec<Multiaddr>,
    /// Known members, in the same form and treated the same; neither counts against the connection limits.
    pub members: Vec<Multiaddr>,
    /// For each topic listed: the only authors whose messages are passed on. Topics not listed are open to anyone.
    /// This keeps strangers' bytes away from the validation; it replaces none of it. Like bootnodes and members, these
    /// authors do not count against the connection limits.
    pub allowed_publishers: BTreeMap<Topic, BTreeSet<PeerId>>,
    /// Whether to believe peers that claim loopback addresses. Always so while listening on nothing but loopback.
    pub allow_loopback: bool,
    /// Limits and timeouts.
    pub limits: Limits,
}

impl NetworkConfig {
    /// A node of the chain with this spec that listens on free loopback ports and knows nobody.
    #[must_use]
    pub fn new(
        identity_path: PathBuf,
        spec_digest: [u8; 32],
        genesis_id: [u8; 32],
        software: Software,
    ) -> Self {
        use libp2p::multiaddr::Protocol;
        let loopback = Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::LOCALHOST));
        Self {
            identity_path,
            spec_digest,
            genesis_id,
            heads: Heads::default(),
            software,
            listen: vec![
                loopback.clone().with(Protocol::Tcp(0)),
                loopback.with(Protocol::Udp(0)).with(Protocol::QuicV1),
            ],
            external: Vec::new(),
            bootnodes: Vec::new(),
            members: Vec::new(),
            allowed_publishers: BTreeMap::new(),
            allow_loopback: false,
            limits: Limits::default(),
        }
    }

    /// The peers whose addresses are in [`Self::members`].
    #[must_use]
    pub fn addressed_members(&self) -> BTreeSet<PeerId> {
        let split = self.members.iter().filter_map(address::split_peer);
        split.map(|(peer, _)| peer).collect()
    }

    /// Lets nobody but these peers publish on the members' topics. Messages of theirs are passed on whoever forwards
    /// them; a stranger who publishes there loses score.
    pub fn allow_members_only(&mut self, members: &BTreeSet<PeerId>) {
        for topic in Topic::OF_MEMBERS {
            self.allowed_publishers.insert(topic, members.clone());
        }
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// One variant of [`ConfigError`] per rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for address in self.listen.iter().chain(&self.external) {
            if !address::can_listen(address) {
                return Err(ConfigError::ListenAddress {
                    found: address.clone(),
                });
            }
        }
        for address in self.bootnodes.iter().chain(&self.members) {
            if address::split_peer(address).is_none() {
                return Err(ConfigError::PeerAddress {
                    found: address.clone(),
                });
            }
        }
        self.limits.validate()
    }

    /// Bootnodes and members by peer, their addresses merged.
    pub(crate) fn permanent_peers(&self) -> BTreeMap<PeerId, Vec<Multiaddr>> {
        let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        for (peer, address) in self
            .bootnodes
            .iter()
            .chain(&self.members)
            .filter_map(address::split_peer)
        {
            let addresses = peers.entry(peer).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        peers
    }

    /// Those that neither take nor need one of the places for strangers.
    pub(crate) fn exempt_peers(&self) -> impl Iterator<Item = PeerId> {
        let authors = self.allowed_publishers.values().flatten().copied();
        self.permanent_peers().into_keys().chain(authors)
    }

    /// Whether claims of loopback addresses are believed.
    pub(crate) fn believes_loopback(&self) -> bool {
        let local_only = !self.listen.is_empty() && self.listen.iter().all(address::is_loopback);
        self.allow_loopback || local_only
    }

    /// Whether names have to be resolved.
    pub(crate) fn needs_dns(&self) -> bool {
        self.bootnodes
            .iter()
            .chain(&self.members)
            .any(address::needs_dns)
    }
}

/// A token bucket: `burst` at once, `per_second` in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    pub(crate) burst: NonZeroU32,
    pub(crate) per_second: NonZeroU32,
}

impl RateLimit {
    /// A limit of `burst` at once and `per_second` in the long run; `None` if one of them is zero.
    #[must_use]
    pub const fn new(burst: u32, per_second: u32) -> Option<Self> {
        match (NonZeroU32::new(burst), NonZeroU32::new(per_second)) {
            (Some(burst), Some(per_second)) => Some(Self { burst, per_second }),
            _ => None,
        }
    }
}

/// Limits and timeouts of the network.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections, those of bootnodes and members not counted. At most three quarters of them may be inbound,
    /// so that strangers cannot take every place.
    pub max_peers: u32,
    /// Below this number of peers, discovered ones are dialed.
    pub target_peers: u32,
    /// Most connections of one peer.
    pub max_connections_per_peer: u32,
    /// Gossip that is handed to the application on behalf of one peer, in units of 16 KiB: each message costs one,
    /// and one more for each full unit. What comes above it is ignored.
    pub gossip_rate: RateLimit,
    /// Blocks that a peer may ask for. A range costs its count, a single block costs 1.
    pub block_rate: RateLimit,
    /// Answers "rate limit exceeded" that a peer gets before it is refused.
    pub refusal_rate: RateLimit,
    /// Status requests that a peer may make.
    pub status_rate: RateLimit,
    /// How long to wait for an answer, and how long the application has to give one.
    pub request_timeout: Duration,
    /// How long a new peer may take to tell its status.
    pub handshake_timeout: Duration,
    /// How long the application has to judge a gossip message. At most 7 s: the library forgets messages then.
    pub validation_timeout: Duration,
    /// How long a refused peer is blocked.
    pub refusal_block: Duration,
    /// How often statuses are exchanged again.
    pub status_interval: Duration,
    /// Pause before the first redial; doubles with each failure.
    pub redial_min: Duration,
    /// Longest pause between redials.
    pub redial_max: Duration,
    /// Places in the event queue. A queued gossip event holds up to 4 MiB.
    pub event_capacity: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const fn rate(burst: u32, per_second: u32) -> RateLimit {
            match RateLimit::new(burst, per_second) {
                Some(limit) => limit,
                None => panic!("rates are not zero"),
            }
        }
        Self {
            max_peers: 64,
            target_peers: 16,
            max_connections_per_peer: 2,
            // A relay passes on what all members say: a block of 4 MiB and thirty approvals in a slot of two seconds
            // are a quarter of it.
            gossip_rate: const { rate(2048, 512) },
            block_rate: const { rate(1024, 256) },
            refusal_rate: const { rate(64, 1) },
            status_rate: const { rate(16, 2) },
            request_timeout: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            validation_timeout: Duration::from_secs(6),
            refusal_block: Duration::from_secs(300),
            status_interval: Duration::from_secs(10),
            redial_min: Duration::from_millis(500),
            redial_max: Duration::from_secs(30),
            event_capacity: 128,
        }
    }
}

/// Longest validation timeout: the gossip history holds messages for a little longer.
pub(crate) const MAX_VALIDATION_TIMEOUT: Duration = Duration::from_secs(7);

impl Limits {
    fn validate(&self) -> Result<(), ConfigError> {
        let counts = [
            ("max_peers", u64::from(self.max_peers), 1, 4096),
            (
                "target_peers",
                u64::from(self.target_peers),
                0,
                u64::from(self.max_peers),
            ),
            (
                "max_connections_per_peer",
                u64::from(self.max_connections_per_peer),
                1,
                16,
            ),
            (
                "gossip_rate burst",
                u64::from(self.gossip_rate.burst.get()),
                u64::from(Topic::Proposals.gossip_cost(Topic::Proposals.max_bytes())),
                u64::MAX,
            ),
            (
                "block_rate burst",
                u64::from(self.block_rate.burst.get()),
                u64::from(MAX_BLOCKS_PER_RESPONSE),
                u64::MAX,
            ),
            ("event_capacity", self.event_capacity as u64, 1, 65_536),
        ];
        for (name, found, min, max) in counts {
            if !(min..=max).contains(&found) {
                return Err(ConfigError::Limit {
                    name,
                    min,
                    max,
                    found,
                });
            }
        }
        let hour = Duration::from_secs(3600);
        let shortest = Duration::from_millis(10);
        let times = [
            ("request_timeout", self.request_timeout, shortest, hour),
            ("handshake_timeout", self.handshake_timeout, shortest, hour),
            (
                "validation_timeout",
                self.validation_timeout,
                shortest,
                MAX_VALIDATION_TIMEOUT,
            ),
            (
                "refusal_block",
                self.refusal_block,
                shortest,
                Duration::from_secs(86_400),
            ),
            ("status_interval", self.status_interval, shortest, hour),
            ("redial_min", self.redial_min, shortest, self.redial_max),
            ("redial_max", self.redial_max, shortest, hour),
        ];
        for (name, found, min, max) in times {
            if !(min..=max).contains(&found) {
                return Err(ConfigError::Time {
                    name,
                    min,
                    max,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not an address that can be listened on.
    #[error(
        "listen address: expected /ip4|ip6/<address>/tcp/<port> or /ip4|ip6/<address>/udp/<port>/quic-v1, found {found}"
    )]
    ListenAddress {
        /// The address.
        found: Multiaddr,
    },
    /// Not an address of a peer.
    #[error(
        "peer address: expected /ip4|ip6|dns4|dns6/<host>/tcp/<port>/p2p/<peer id>, or /udp/<port>/quic-v1 for /tcp/<port>, found {found}"
    )]
    PeerAddress {
        /// The address.
        found: Multiaddr,
    },
    /// A number out of range.
    #[error("{name}: expected {min} to {max}, found {found}")]
    Limit {
        /// Name of the limit.
        name: &'static str,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
        /// Configured.
        found: u64,
    },
    /// A duration out of range.
    #[error("{name}: expected {min:?} to {max:?}, found {found:?}")]
    Time {
        /// Name of the limit.
        name: &'static str,
        /// Shortest allowed.
        min: Duration,
        /// Longest allowed.
        max: Duration,
        /// Configured.
        found: Duration,
    },
}

#[cfg(test)]
mod tests;
