//! What operators write to let more in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use thiserror::Error;

/// Longest host name (RFC 1035).
const MAX_NAME: usize = 253;

/// A host under which a port is reached, besides those that always are: see [`crate::Access::new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AllowedHost {
    /// `*`: any, which gives up the protection against DNS rebinding.
    Any,
    /// An address.
    Address(IpAddr),
    /// A name, in lower case, with any port.
    Name(String),
}

/// A web page's origin that may call a port from a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AllowedOrigin {
    /// `*`: every page that anybody on the machine opens.
    Any,
    /// `scheme://*`: all origins of a scheme, such as all browser extensions.
    Scheme(String),
    /// `scheme://host` or `scheme://host:port`, in lower case, as browsers write it.
    Exactly(String),
}

/// An entry that is neither.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Not a host.
    #[error("host: expected a name or an IP address without a port, or \"*\", found {found:?}")]
    Host {
        /// What was written.
        found: String,
    },
    /// Not an origin.
    #[error(
        "origin: expected scheme://host, scheme://host:port, scheme://* or \"*\", without a path, found {found:?}"
    )]
    Origin {
        /// What was written.
        found: String,
    },
}

impl AllowedOrigin {
    /// The origins of wallets that are browser extensions. Pages cannot take them on: browsers do not let them.
    pub fn wallets() -> Vec<Self> {
        ["chrome-extension", "moz-extension", "safari-web-extension"]
            .map(|scheme| Self::Scheme(scheme.to_owned()))
            .into()
    }
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(fits)
}

/// An address as it stands in a URL: version 6 in brackets. Without them too, if `bare`.
fn address(text: &str, bare: bool) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match (inner, text.parse()) {
        (Some(inner), _) => inner.parse().ok().map(IpAddr::V6),
        (None, Ok(address @ IpAddr::V4(_))) => Some(address),
        (None, Ok(address)) if bare => Some(address),
        (None, _) => None,
    }
}

impl FromStr for AllowedHost {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(address) = address(text, true) {
            return Ok(Self::Address(address));
        }
        if is_name(text) {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        Err(PatternError::Host {
            found: text.to_owned(),
        })
    }
}

impl FromStr for AllowedOrigin {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let wrong = || PatternError::Origin {
            found: text.to_owned(),
        };
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").ok_or_else(wrong)?;
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(in_scheme) {
            return Err(wrong());
        }
        if rest == "*" {
            return Ok(Self::Scheme(scheme.to_owned()));
        }
        // What follows a bracket or the only colon is the port.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        if address(host, false).is_none() && !is_name(host) {
            return Err(wrong());
        }
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) => Some(port),
            Some(Err(_)) => return Err(wrong()),
        };
        // Browsers leave the usual port out.
        let usual = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Ok(Self::Exactly(match port.filter(|_| port != usual) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Scheme(scheme) => write!(f, "{scheme}://*"),
            Self::Exactly(origin) => f.write_str(origin),
        }
    }
}

impl TryFrom<String> for AllowedHost {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<AllowedHost> for String {
    fn from(host: AllowedHost) -> Self {
        host.to_string()
    }
}

impl From<AllowedOrigin> for String {
    fn from(origin: AllowedOrigin) -> Self {
        origin.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_without_more() {
        for (text, shown) in [
            ("*", "*"),
            ("RPC.Example.org", "rpc.example.org"),
            ("10.0.0.7", "10.0.0.7"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), shown);
        }
        for text in ["", "a:80", "http://a", "a/b", "*.a", "a b", "[10.0.0.1]"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_kept_as_browsers_write_them() {
        for (text, shown) in [
            ("*", "*"),
            ("Chrome-Extension://*", "chrome-extension://*"),
            ("https://App.Example:443", "https://app.example"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<AllowedOrigin>().unwrap().to_string(), shown);
        }
        // `null` is the origin of every sandboxed frame and of every local file: there is no trusting it.
        for text in [
            "",
            "null",
            "a.example",
            "https://",
            "https://a/",
            "https://a:b",
            "https://*.a",
            "://a",
            "https://a:1:2",
            "https://::1",
        ] {
            assert!(text.parse::<AllowedOrigin>().is_err(), "{text}");
        }
    }

    #[test]
    fn files_name_what_is_wrong() {
        #[derive(Debug, Deserialize)]
        struct File {
            #[allow(dead_code, reason = "only its errors matter")]
            hosts: Vec<AllowedHost>,
        }
        let error = toml::from_str::<File>("hosts = [\"a:80\"]").unwrap_err();
        assert!(error.to_string().contains("without a port"), "{error}");
    }
}
