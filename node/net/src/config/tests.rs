//! Tests of the parent module.

use super::*;

fn config() -> NetworkConfig {
    NetworkConfig::new(
        PathBuf::from("identity"),
        [1; 32],
        [2; 32],
        Software::try_from("test").unwrap(),
    )
}

#[test]
fn defaults_are_valid_and_on_loopback() {
    assert_eq!(config().validate(), Ok(()));
    assert!(config().listen.iter().all(address::is_loopback));
    assert!(config().believes_loopback());
}

#[test]
fn loopback_claims_are_not_believed_on_a_public_network() {
    let mut public = config();
    public
        .listen
        .push("/ip4/0.0.0.0/tcp/30400".parse().unwrap());
    assert!(!public.believes_loopback());
    public.allow_loopback = true;
    assert!(public.believes_loopback());
}

#[test]
fn bad_addresses_and_limits_are_named() {
    let mut bad = config();
    bad.listen = vec!["/dns4/a.example/tcp/1".parse().unwrap()];
    assert!(matches!(
        bad.validate(),
        Err(ConfigError::ListenAddress { .. })
    ));

    let mut bad = config();
    bad.bootnodes = vec!["/ip4/1.2.3.4/tcp/1".parse().unwrap()];
    assert!(matches!(
        bad.validate(),
        Err(ConfigError::PeerAddress { .. })
    ));

    let mut bad = config();
    bad.limits.max_peers = 0;
    assert!(matches!(
        bad.validate(),
        Err(ConfigError::Limit {
            name: "max_peers",
            found: 0,
            ..
        })
    ));

    let mut bad = config();
    bad.limits.validation_timeout = Duration::from_secs(8);
    assert!(matches!(
        bad.validate(),
        Err(ConfigError::Time {
            name: "validation_timeout",
            ..
        })
    ));
}

#[test]
fn addresses_of_one_peer_are_merged() {
    let peer = PeerId::random();
    let mut shared = config();
    shared.bootnodes = vec![format!("/ip4/1.2.3.4/tcp/1/p2p/{peer}").parse().unwrap()];
    shared.members = vec![
        format!("/ip4/1.2.3.4/tcp/1/p2p/{peer}").parse().unwrap(),
        format!("/ip4/1.2.3.4/udp/1/quic-v1/p2p/{peer}")
            .parse()
            .unwrap(),
    ];
    let peers = shared.permanent_peers();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[&peer].len(), 2);
}
