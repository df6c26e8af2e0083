//! Enums by their names, in entries and in JSON alike: a variant may move without changing the meaning of old entries.

use super::entry::{BlobKind, StateName};
use crate::authority::Operation;
use alys_protocol::rules::Rule;
use alys_signer_client::Role;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// An enum whose variants have names that never change.
pub(crate) trait Named: Copy + 'static {
    /// Every variant.
    const ALL: &'static [Self];
    /// What it is, for errors.
    const WHAT: &'static str;
    /// A variant's name.
    fn name(self) -> &'static str;

    /// The variant of that name.
    fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|variant| variant.name() == name)
    }
}

pub(crate) fn serialize<T: Named, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.name())
}

pub(crate) fn deserialize<'de, T: Named, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let name = String::deserialize(deserializer)?;
    T::of_name(&name).ok_or_else(|| {
        let name: String = name.chars().take(64).collect();
        D::Error::custom(format_args!("expected {}, found {name:?}", T::WHAT))
    })
}

impl Named for Rule {
    const ALL: &'static [Self] = Rule::ALL;
    const WHAT: &'static str = "a rule's id";
    fn name(self) -> &'static str {
        self.id()
    }
}

impl Named for Role {
    const ALL: &'static [Self] = &Role::ALL;
    const WHAT: &'static str = "a role";
    fn name(self) -> &'static str {
        Role::name(self)
    }
}

impl Named for Operation {
    const ALL: &'static [Self] = &Operation::ALL;
    const WHAT: &'static str = "an operation";
    fn name(self) -> &'static str {
        Operation::name(self)
    }
}

impl Named for StateName {
    const ALL: &'static [Self] = &[Self::Vote, Self::PegOut, Self::Bitcoin, Self::Admin];
    const WHAT: &'static str = "a state's name";
    fn name(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::PegOut => "pegout",
            Self::Bitcoin => "bitcoin",
            Self::Admin => "admin",
        }
    }
}

impl Named for BlobKind {
    const ALL: &'static [Self] = &[
        Self::Request,
        Self::State(StateName::Vote),
        Self::State(StateName::PegOut),
        Self::State(StateName::Bitcoin),
        Self::State(StateName::Admin),
        Self::Spec,
        Self::Policy,
        Self::Officers,
        Self::SignedPolicy,
    ];
    const WHAT: &'static str = "a kind of blob";
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::State(StateName::Vote) => "state/vote",
            Self::State(StateName::PegOut) => "state/pegout",
            Self::State(StateName::Bitcoin) => "state/bitcoin",
            Self::State(StateName::Admin) => "state/admin",
            Self::Spec => "spec",
            Self::Policy => "policy",
            Self::Officers => "officers",
            Self::SignedPolicy => "signed-policy",
        }
    }
}
