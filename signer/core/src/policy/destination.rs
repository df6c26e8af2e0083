//! Where payments may go (rule `destination`).

use super::PolicyError;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, Script};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Patterns in one list at most.
const MAX_PATTERNS: usize = 1_000;

/// Where payments may go: anywhere unless a list says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destinations {
    /// Where there is this list: only where a pattern matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<ScriptPattern>>,
    /// Not where a pattern matches, whatever `allow` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<ScriptPattern>,
}

/// What a script is compared with. Written as `p2pkh`, `p2sh`, `p2wpkh`, `p2wsh`, `p2tr`, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptPattern {
    /// Any script of a template.
    Template(Template),
    /// One address.
    Address(Address<NetworkUnchecked>),
}

/// A script template that the bridge pays to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Pay to public-key hash.
    P2pkh,
    /// Pay to script hash (BIP-16).
    P2sh,
    /// Pay to witness public-key hash (BIP-141).
    P2wpkh,
    /// Pay to witness script hash (BIP-141).
    P2wsh,
    /// Pay to taproot (BIP-341).
    P2tr,
}

impl Template {
    const ALL: [Self; 5] = [
        Self::P2pkh,
        Self::P2sh,
        Self::P2wpkh,
        Self::P2wsh,
        Self::P2tr,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::P2pkh => "p2pkh",
            Self::P2sh => "p2sh",
            Self::P2wpkh => "p2wpkh",
            Self::P2wsh => "p2wsh",
            Self::P2tr => "p2tr",
        }
    }

    fn matches(self, script: &Script) -> bool {
        match self {
            Self::P2pkh => script.is_p2pkh(),
            Self::P2sh => script.is_p2sh(),
            Self::P2wpkh => script.is_p2wpkh(),
            Self::P2wsh => script.is_p2wsh(),
            Self::P2tr => script.is_p2tr(),
        }
    }
}

/// Text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "expected p2pkh, p2sh, p2wpkh, p2wsh, p2tr or a Bitcoin address, found {found:?}: {reason}"
)]
pub struct ScriptPatternError {
    /// The text.
    pub found: String,
    /// Why it is no address.
    pub reason: String,
}

impl FromStr for ScriptPattern {
    type Err = ScriptPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(template) = Template::ALL
            .into_iter()
            .find(|template| template.name() == text)
        {
            return Ok(Self::Template(template));
        }
        text.parse()
            .map(Self::Address)
            .map_err(|error: bitcoin::address::ParseError| ScriptPatternError {
                // Enough to find it by.
                found: text.chars().take(100).collect(),
                reason: error.to_string(),
            })
    }
}

impl fmt::Display for ScriptPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(template) => f.write_str(template.name()),
            Self::Address(address) => address.assume_checked_ref().fmt(f),
        }
    }
}

impl Serialize for ScriptPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScriptPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl ScriptPattern {
    /// Whether a script is meant.
    pub fn matches(&self, script: &Script) -> bool {
        match self {
            Self::Template(template) => template.matches(script),
            Self::Address(address) => address.assume_checked_ref().matches_script_pubkey(script),
        }
    }
}

impl Destinations {
    /// Whether nothing is ruled out.
    pub fn is_any(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    /// The pattern that rules a script out, or in words that none lets it in; none where it may be paid.
    pub fn ruled_out(&self, script: &Script) -> Option<String> {
        if let Some(pattern) = self.deny.iter().find(|pattern| pattern.matches(script)) {
            return Some(format!("the denied {pattern}"));
        }
        match &self.allow {
            Some(allowed) if !allowed.iter().any(|pattern| pattern.matches(script)) => {
                Some(String::from("a script that no allowed pattern matches"))
            }
            Some(_) | None => None,
        }
    }

    /// Checks the number of patterns, and that something is let in.
    ///
    /// # Errors
    /// - [`PolicyError`] where there are too many, or `allow` is an empty list.
    pub(super) fn check_alone(&self) -> Result<(), PolicyError> {
        let none = self.allow.as_ref().is_some_and(Vec::is_empty);
        let allowed = self.allow.as_ref().map_or(0, Vec::len);
        for (field, found) in [
            ("destinations.allow", allowed),
            ("destinations.deny", self.deny.len()),
        ] {
            super::at_most(field, MAX_PATTERNS as u64, found as u64)?;
        }
        if none {
            super::at_least("destinations.allow", 1, 0)?;
        }
        Ok(())
    }

    /// Checks that addresses are of the chain's Bitcoin network.
    ///
    /// # Errors
    /// - [`PolicyError`] for the first that is not.
    pub(super) fn check(&self, network: Network) -> Result<(), PolicyError> {
        let patterns = self.allow.iter().flatten().chain(&self.deny);
        for pattern in patterns {
            let foreign = match pattern {
                ScriptPattern::Address(address) => !address.is_valid_for_network(network),
                ScriptPattern::Template(_) => false,
            };
            if foreign {
                return Err(PolicyError {
                    field: "destinations",
                    relation: "addresses of network",
                    bound: network.to_string(),
                    found: pattern.to_string(),
                });
            }
        }
        Ok(())
    }
}
