//! The libp2p protocols of a node, put together and tuned.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::gossipsub::{
    self, IdentityTransform, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, kad, noise, ping, tcp, yamux};
use sha2::{Digest, Sha256};

use crate::codec::{FrameCodec, FrameError};
use crate::config::NetworkConfig;
use crate::error::Error;
use crate::guard::Guard;
use crate::message::{Request, Response};
use crate::topic::{Topic, Topics, chain_prefix};

/// Protocol of the status exchange. Not bound to a chain, so that nodes of different chains can tell each other.
pub(crate) const STATUS_PROTOCOL: &str = "/alys/status/1";

const HEARTBEAT: Duration = Duration::from_millis(700);
/// Heartbeats for which messages are kept: 8.4 s, longer than any validation.
const HISTORY: usize = 12;
/// How long a message is known as seen. Messages older than [`HISTORY`] are not offered any more, so this is
/// enough against loops; the same bytes may be published again after it.
const SEEN: Duration = Duration::from_secs(20);
/// Room for author, number, signature, key and topic around a payload.
const ENVELOPE: usize = 1024;
/// Room for other frames in the read buffer, which the library counts as part of the message.
const BUFFER: usize = 64 * 1024;

pub(crate) type Gossipsub = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;
pub(crate) type ExchangeEvent = request_response::Event<Result<Request, FrameError>, Response>;
pub(crate) type Exchange = request_response::Behaviour<FrameCodec>;

/// Everything a node speaks. The guards come first: they refuse connections before the others hear of them.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) guard: Guard,
    pub(crate) ping: ping::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) kademlia: kad::Behaviour<MemoryStore>,
    pub(crate) gossip: Gossipsub,
    pub(crate) status: Exchange,
    pub(crate) sync: Exchange,
}

fn setup_error(what: &'static str) -> impl FnOnce(&dyn std::fmt::Display) -> Error {
    move |reason| Error::Setup {
        what,
        reason: reason.to_string(),
    }
}

/// Builds the swarm; nothing is listened on or dialed yet.
pub(crate) fn swarm(config: &NetworkConfig, key: &Keypair) -> Result<Swarm<Behaviour>, Error> {
    let behaviour = Behaviour::new(config, key)?;
    let tcp = SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(|error| setup_error("noise")(&error))?
        .with_quic();
    // Connections are kept until one side has a reason to end them.
    let keep = |swarm: libp2p::swarm::Config| {
        swarm
            .with_idle_connection_timeout(Duration::from_secs(u64::from(u32::MAX)))
            .with_max_negotiating_inbound_streams(64)
    };
    // The two builders differ in type, the swarms do not.
    if config.needs_dns() {
        let resolving = tcp.with_dns().map_err(|error| {
            setup_error("the name resolver, which the configured peer addresses need")(&error)
        })?;
        let Ok(builder) = resolving.with_behaviour(|_| behaviour);
        Ok(builder.with_swarm_config(keep).build())
    } else {
        let Ok(builder) = tcp.with_behaviour(|_| behaviour);
        Ok(builder.with_swarm_config(keep).build())
    }
}

impl Behaviour {
    fn new(config: &NetworkConfig, key: &Keypair) -> Result<Self, Error> {
        let local = key.public().to_peer_id();
        let limits = &config.limits;
        let exchange = |protocol: String, codec, streams| -> Result<Exchange, Error> {
            let protocol = StreamProtocol::try_from_owned(protocol)
                .map_err(|error| setup_error("request-response")(&error))?;
            let settings = request_response::Config::default()
                .with_request_timeout(limits.request_timeout)
                .with_max_concurrent_streams(streams);
            Ok(Exchange::with_codec(
                codec,
                [(protocol, ProtocolSupport::Full)],
                settings,
            ))
        };
        let prefix = chain_prefix(&config.spec_digest);
        Ok(Self {
            blocked: allow_block_list::Behaviour::default(),
            guard: Guard::new(limits, config.exempt_peers()),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(Duration::from_secs(10))
                    .with_timeout(Duration::from_secs(10)),
            ),
            identify: identify::Behaviour::new(
                identify::Config::new("/alys/1".to_owned(), key.public())
                    .with_agent_version(config.software.as_str().to_owned())
                    .with_push_listen_addr_updates(true)
                    // Its cache would hand unfiltered claims to the dialer; the routing table gets filtered ones.
                    .with_cache_size(0),
            ),
            kademlia: kademlia(local, &prefix)?,
            gossip: gossip(config, key, &prefix)?,
            status: exchange(STATUS_PROTOCOL.to_owned(), FrameCodec::STATUS, 8)?,
            sync: exchange(format!("{prefix}/sync/1"), FrameCodec::SYNC, 32)?,
        })
    }
}

fn kademlia(local: PeerId, prefix: &str) -> Result<kad::Behaviour<MemoryStore>, Error> {
    let protocol = StreamProtocol::try_from_owned(format!("{prefix}/kad/1"))
        .map_err(|error| setup_error("kademlia")(&error))?;
    let mut settings = kad::Config::new(protocol);
    settings
        // Only peers that completed the handshake get in, with addresses that passed the filter.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        // Used to find peers only: others' records are handed up, where nobody keeps them.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(60)))
        .set_query_timeout(Duration::from_secs(30))
        .set_replication_factor(NonZeroUsize::MIN.saturating_add(15));
    let mut behaviour = kad::Behaviour::with_config(local, MemoryStore::new(local), settings);
    behaviour.set_mode(Some(kad::Mode::Server));
    Ok(behaviour)
}

fn gossip(config: &NetworkConfig, key: &Keypair, prefix: &str) -> Result<Gossipsub, Error> {
    let topics = Topics::new(&config.spec_digest);
    let largest = Topic::ALL
        .iter()
        .map(|topic| topic.max_bytes())
        .max()
        .unwrap_or_default();
    let mut builder = gossipsub::ConfigBuilder::default();
    builder
        .protocol_id_prefix(format!("{prefix}/meshsub"))
        .heartbeat_initial_delay(HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY)
        .history_gossip(4)
        .duplicate_cache_time(SEEN)
        // A federation of 4 to 30 is close to a full mesh; larger networks pay a bounded fan-out.
        .mesh_n_low(4)
        .mesh_n(8)
        .mesh_n_high(16)
        .mesh_outbound_min(2)
        .flood_publish(true)
        .validate_messages()
        .validation_mode(ValidationMode::Strict)
        .message_id_fn(message_id)
        .max_transmit_size(largest.saturating_add(ENVELOPE).saturating_add(BUFFER))
        .max_publish_messages(64)
        .max_control_messages_sent(512)
        .max_ihave_messages_heartbeat(20)
        // Queued messages are copies: this bounds what a slow peer costs.
        .connection_handler_queue_len(256)
        .publish_queue_duration(Duration::from_secs(4))
        .forward_queue_duration(Duration::from_secs(2));
    for (topic, hash) in topics.iter() {
        builder
            .max_transmit_size_for_topic(topic.max_bytes().saturating_add(ENVELOPE), hash.clone());
    }
    let settings = builder
        .build()
        .map_err(|error| setup_error("gossip")(&error))?;
    let allowed: HashSet<_> = topics.iter().map(|(_, hash)| hash.clone()).collect();
    let mut behaviour = Gossipsub::new_with_subscription_filter(
        MessageAuthenticity::Signed(key.clone()),
        settings,
        WhitelistSubscriptionFilter(allowed),
    )
    .map_err(|error| setup_error("gossip")(&error))?;
    behaviour
        .with_peer_score(score(&topics), THRESHOLDS)
        .map_err(|error| setup_error("peer scoring")(&error))?;
    for topic in Topic::ALL {
        behaviour
            .subscribe(&topic.ident(&config.spec_digest))
            .map_err(|error| setup_error("gossip")(&error))?;
    }
    Ok(behaviour)
}

/// The same content of the same author is the same message. The author is part of it: otherwise a stranger could
/// publish a member's bytes first, get them refused for the stranger's name, and the member's own would pass for
/// seen.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let author = message.source.map(PeerId::to_bytes).unwrap_or_default();
    let mut hasher = Sha256::new_with_prefix(b"alys/gossip-id/1");
    // Length-prefixed, so that no two messages can share an input.
    for part in [
        message.topic.as_str().as_bytes(),
        author.as_slice(),
        message.data.as_slice(),
    ] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    MessageId::new(&hasher.finalize())
}

/// Below `gossip` no offers, below `publish` no own messages, below `graylist` nothing is read from the peer.
/// One invalid message costs 10, two 40, three 90, and a peer can have earned at most 20.
const THRESHOLDS: PeerScoreThresholds = PeerScoreThresholds {
    gossip_threshold: -15.0,
    publish_threshold: -30.0,
    graylist_threshold: -60.0,
    accept_px_threshold: 1000.0,
    opportunistic_graft_threshold: 1.0,
};

fn score(topics: &Topics) -> PeerScoreParams {
    let decay = |seconds| gossipsub::score_parameter_decay(Duration::from_secs(seconds));
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 100.0,
        first_message_deliveries_weight: 0.2,
        first_message_deliveries_decay: decay(120),
        first_message_deliveries_cap: 20.0,
        // Nobody owes deliveries: topics are quiet for hours without miners or peg-outs.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: decay(300),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics
            .iter()
            .map(|(_, hash)| (hash.clone(), topic.clone()))
            .collect(),
        topic_score_cap: 20.0,
        app_specific_weight: 0.0,
        // Several members behind one address are common (one operator, a test on one machine), dozens are not.
        ip_colocation_factor_weight: -5.0,
        ip_colocation_factor_threshold: 10.0,
        ip_colocation_factor_whitelist: [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]
        .into(),
        // A loaded machine misses a promise now and then.
        behaviour_penalty_weight: -5.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: decay(60),
        slow_peer_threshold: 10.0,
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    }
}
