//! Which addresses this node listens on, dials, and believes from others.

use std::net::{IpAddr, Ipv4Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The transport part of an address: TCP or QUIC over an IP address or a DNS name.
fn is_transport(address: &Multiaddr, dns: bool) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) => true,
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => dns,
        _ => false,
    };
    let transport = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    host && transport && parts.next().is_none()
}

/// Whether this node can listen on `address`: `/ip4|ip6/../tcp/..` or `/ip4|ip6/../udp/../quic-v1`.
pub(crate) fn can_listen(address: &Multiaddr) -> bool {
    is_transport(address, false)
}

/// Splits `/ip4|ip6|dns../../tcp/../p2p/<peer>`, or the same over QUIC, into peer and transport address.
pub(crate) fn split_peer(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut transport = address.clone();
    match transport.pop() {
        Some(Protocol::P2p(peer)) if is_transport(&transport, true) => Some((peer, transport)),
        _ => None,
    }
}

/// Whether the host part is a DNS name.
pub(crate) fn needs_dns(address: &Multiaddr) -> bool {
    matches!(
        address.iter().next(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    )
}

/// Whether the host part is a loopback address.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    address
        .ip_addr()
        .is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether to believe that a peer can be reached at `address`, which that peer claims. Names are not believed:
/// they would let a stranger make this node query DNS. Loopback is believed on a network that lives there.
pub(crate) fn is_believable(address: &Multiaddr, allow_loopback: bool) -> bool {
    if !is_transport(address, false) {
        return false;
    }
    let zero_port = address
        .iter()
        .any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)));
    address
        .ip_addr()
        .map(|ip| ip.to_canonical())
        .is_some_and(|ip| {
            let unusable = match ip {
                IpAddr::V4(ip) => {
                    ip.is_unspecified()
                        || ip.is_multicast()
                        || ip.is_link_local()
                        || ip == Ipv4Addr::BROADCAST
                }
                IpAddr::V6(ip) => {
                    ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()
                }
            };
            !unusable && !zero_port && (allow_loopback || !ip.is_loopback())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn listens_on_tcp_and_quic_only() {
        assert!(can_listen(&parse("/ip4/127.0.0.1/tcp/0")));
        assert!(can_listen(&parse("/ip6/::1/udp/0/quic-v1")));
        for odd in [
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/dns4/a.example/tcp/1",
            "/memory/1",
        ] {
            assert!(!can_listen(&parse(odd)), "{odd}");
        }
    }

    #[test]
    fn peers_are_split_off() {
        let peer = PeerId::random();
        for transport in ["/ip4/10.0.0.1/tcp/9", "/dns4/a.example/udp/9/quic-v1"] {
            assert_eq!(
                split_peer(&parse(&format!("{transport}/p2p/{peer}"))),
                Some((peer, parse(transport)))
            );
        }
        assert_eq!(split_peer(&parse("/ip4/10.0.0.1/tcp/9")), None);
        assert_eq!(
            split_peer(&parse(&format!(
                "/ip4/1.2.3.4/tcp/9/p2p/{peer}/p2p-circuit/p2p/{peer}"
            ))),
            None
        );
    }

    #[test]
    fn claims_are_filtered() {
        assert!(is_believable(&parse("/ip4/10.1.2.3/tcp/30333"), false));
        assert!(is_believable(
            &parse("/ip6/2001:db8::1/udp/9/quic-v1"),
            false
        ));
        assert!(is_believable(&parse("/ip4/127.0.0.1/tcp/9"), true));
        for odd in [
            "/ip4/127.0.0.1/tcp/9",
            "/ip6/::ffff:127.0.0.1/tcp/9",
            "/ip4/0.0.0.0/tcp/9",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/10.0.0.1/tcp/0",
            "/ip6/fe80::1/tcp/9",
            "/dns4/a.example/tcp/9",
        ] {
            assert!(!is_believable(&parse(odd), false), "{odd}");
        }
    }
}
