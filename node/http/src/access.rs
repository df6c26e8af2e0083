//! The decision: who may call.

use crate::pattern::{AllowedHost, AllowedOrigin};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};
use std::net::IpAddr;
use thiserror::Error;

/// Who may call one port.
#[derive(Debug, Clone)]
pub struct Access {
    bound: IpAddr,
    hosts: Vec<AllowedHost>,
    origins: Vec<AllowedOrigin>,
}

/// A request that is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// No host, or not one host.
    #[error("expected a Host header with one host, found none or another thing")]
    NoHost,
    /// A host under which this port is not reached.
    #[error(
        "expected a Host header with a loopback name or address, the address this port listens on, or one from `hosts` in the configuration, found {found:?}"
    )]
    Host {
        /// The host found, cut to a fair length.
        found: String,
    },
    /// A web page that may not call.
    #[error(
        "expected no Origin header, or one from `origins` in the configuration, found {found:?}"
    )]
    Origin {
        /// The origin found, cut to a fair length.
        found: String,
    },
}

/// As much of a header as goes into an error.
fn excerpt(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().take(100).collect()
}

impl Access {
    /// The rules of a port that listens on `bound`.
    ///
    /// The request's host must be `localhost`, a loopback address, `bound`, or in `hosts`, with any port; where
    /// `bound` stands for all addresses (`0.0.0.0`, `::`), it may be any address, since DNS rebinding needs a name.
    /// Programs send no `Origin`; a browser does, for websockets and for whatever could change something, and it must
    /// be in `origins` then.
    pub fn new(bound: IpAddr, hosts: Vec<AllowedHost>, origins: Vec<AllowedOrigin>) -> Self {
        Self {
            bound: bound.to_canonical(),
            hosts,
            origins,
        }
    }

    /// Decides. The origin, if there is one, is to be told that it may read the answer.
    ///
    /// # Errors
    /// - [`Refused::NoHost`], [`Refused::Host`] where the host is not served here;
    /// - [`Refused::Origin`] for a web page that is not in the list.
    pub fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<Option<HeaderValue>, Refused> {
        let named = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        // A request line may carry a host, too, and servers differ in which one they believe.
        let in_line = uri
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        let mut hosts = 0usize;
        for host in named.chain(in_line) {
            hosts = hosts.saturating_add(1);
            self.check_host(host)?;
        }
        if hosts == 0 {
            return Err(Refused::NoHost);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(None),
            (Some(origin), None) if self.allows_origin(origin) => Ok(Some(origin.clone())),
            (Some(origin), _) => Err(Refused::Origin {
                found: excerpt(origin.as_bytes()),
            }),
        }
    }

    fn check_host(&self, found: &[u8]) -> Result<(), Refused> {
        let authority = Authority::try_from(found).map_err(|_| Refused::NoHost)?;
        // User names end at the last `@`; a browser sends none.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(Refused::NoHost);
        }
        let host = authority.host().to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let allowed = match bare.parse::<IpAddr>() {
            Ok(address) => self.allows_address(address.to_canonical()),
            Err(_) => {
                host == "localhost"
                    || self.hosts.iter().any(|allowed| match allowed {
                        AllowedHost::Any => true,
                        AllowedHost::Name(name) => *name == host,
                        AllowedHost::Address(_) => false,
                    })
            }
        };
        if allowed {
            return Ok(());
        }
        Err(Refused::Host {
            found: excerpt(found),
        })
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || address == self.bound
            || self.bound.is_unspecified()
            || self.hosts.iter().any(|allowed| match allowed {
                AllowedHost::Any => true,
                AllowedHost::Address(allowed) => allowed.to_canonical() == address,
                AllowedHost::Name(_) => false,
            })
    }

    fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let origin = origin.to_ascii_lowercase();
        self.origins.iter().any(|allowed| match allowed {
            AllowedOrigin::Any => true,
            AllowedOrigin::Exactly(allowed) => *allowed == origin,
            AllowedOrigin::Scheme(scheme) => origin
                .strip_prefix(scheme.as_str())
                .and_then(|rest| rest.strip_prefix("://"))
                .is_some_and(|host| !host.is_empty() && !host.contains([' ', ','])),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(bound: &str, hosts: &[&str], origins: &[&str]) -> Access {
        Access::new(
            bound.parse().unwrap(),
            hosts.iter().map(|host| host.parse().unwrap()).collect(),
            origins
                .iter()
                .map(|origin| origin.parse().unwrap())
                .collect(),
        )
    }

    fn check(access: &Access, headers: &[(&str, &str)]) -> Result<bool, Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        access
            .check(&map, &Uri::from_static("/"))
            .map(|origin| origin.is_some())
    }

    #[test]
    fn loopback_and_the_own_address_are_served_and_names_are_not() {
        let own = access("192.168.7.5", &[], &[]);
        for host in [
            "localhost",
            "LocalHost:3000",
            "127.0.0.1:8545",
            "127.1.2.3",
            "[::1]:1",
            "[::ffff:127.0.0.1]",
            "192.168.7.5:1",
        ] {
            assert_eq!(check(&own, &[("host", host)]), Ok(false), "{host}");
        }
        for host in [
            "attacker.example",
            "attacker.example:3000",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "localhost.",
            "192.168.7.6",
            "0.0.0.0:3000",
            "[::]",
        ] {
            assert!(
                matches!(check(&own, &[("host", host)]), Err(Refused::Host { .. })),
                "{host}"
            );
        }
        for host in ["", "a@localhost", "localhost@a.example", "a b"] {
            assert!(check(&own, &[("host", host)]).is_err(), "{host:?}");
        }
        assert_eq!(check(&own, &[]), Err(Refused::NoHost));
        let two = [("host", "localhost"), ("host", "attacker.example")];
        assert!(matches!(check(&own, &two), Err(Refused::Host { .. })));
    }

    #[test]
    fn the_host_of_the_request_line_counts_too() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let own = access("127.0.0.1", &[], &[]);
        let line = Uri::from_static("http://attacker.example/");
        assert!(own.check(&headers, &line).is_err());
        assert!(
            own.check(&headers, &Uri::from_static("http://localhost/"))
                .is_ok()
        );
    }

    #[test]
    fn a_port_on_all_addresses_takes_any_address_and_no_name() {
        let all = access("0.0.0.0", &[], &[]);
        assert_eq!(check(&all, &[("host", "203.0.113.9:1")]), Ok(false));
        assert!(check(&all, &[("host", "attacker.example")]).is_err());
        let named = access("::", &["rpc.example.org"], &[]);
        assert_eq!(check(&named, &[("host", "RPC.example.org:443")]), Ok(false));
        let any = access("127.0.0.1", &["*"], &[]);
        assert_eq!(check(&any, &[("host", "whoever.example")]), Ok(false));
    }

    #[test]
    fn pages_are_refused_and_listed_ones_are_told_that_they_may_read() {
        let host = ("host", "localhost:3000");
        let strict = access("127.0.0.1", &[], &[]);
        for origin in [
            "https://attacker.example",
            "http://localhost:3000",
            "null",
            "chrome-extension://abc",
            "",
        ] {
            assert!(
                matches!(
                    check(&strict, &[host, ("origin", origin)]),
                    Err(Refused::Origin { .. })
                ),
                "{origin}"
            );
        }
        let listed = access(
            "127.0.0.1",
            &[],
            &["https://app.example", "chrome-extension://*"],
        );
        for origin in ["https://app.example", "chrome-extension://nkbihfbeog"] {
            assert_eq!(check(&listed, &[host, ("origin", origin)]), Ok(true));
        }
        for origin in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.attacker.example",
            "chrome-extension://",
            "chrome-extension://a https://attacker.example",
            "moz-extension://a",
            "null",
        ] {
            assert!(
                check(&listed, &[host, ("origin", origin)]).is_err(),
                "{origin}"
            );
        }
        let twice = [
            host,
            ("origin", "https://app.example"),
            ("origin", "https://attacker.example"),
        ];
        assert!(check(&listed, &twice).is_err());
    }
}
