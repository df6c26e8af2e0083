//! From agreed parameters and members' cards to the chain spec.

use crate::card::MemberCard;
use crate::parameters::Parameters;
use alys_execution::genesis::{GenesisError, genesis_block_hash};
use alys_execution::{ChainGenesisError, chain_genesis};
use alys_protocol::bls::{BlsError, PublicKey};
use alys_protocol::bytes::ExecutionHash;
use alys_protocol::execution::BRIDGE;
use alys_protocol::spec::{Chain, ChainSpec, ExecutionSpec, MemberSpec, SpecError};
use bitcoin::secp256k1::XOnlyPublicKey;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Parameters and cards that make no chain.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// Two members of one name.
    #[error("members: expected each name once, found {0:?} again")]
    DuplicateName(String),
    /// A member without a card.
    #[error("expected a card of member {0:?}, found none")]
    MissingCard(String),
    /// A card of nobody.
    #[error("expected cards of the members only, found one of {0:?}")]
    UnknownCard(String),
    /// A card whose BLS key or proof of possession does not hold.
    #[error("card of {member:?}: {error}")]
    CardBls {
        /// Whose card.
        member: String,
        /// What is wrong.
        error: BlsError,
    },
    /// A card whose Schnorr key is none.
    #[error(
        "card of {member:?}: expected an x-only public key (BIP-340) in schnorr, found {found}"
    )]
    CardSchnorr {
        /// Whose card.
        member: String,
        /// What was found.
        found: String,
    },
    /// Two members with one key.
    #[error("cards of {first:?} and {second:?}: expected different keys, found the same {key} key")]
    SharedKey {
        /// The earlier.
        first: String,
        /// The later.
        second: String,
        /// `BLS` or `Schnorr`.
        key: &'static str,
    },
    /// The chain breaks a rule.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The execution layer's genesis cannot be made.
    #[error(transparent)]
    ChainGenesis(#[from] ChainGenesisError),
    /// The same.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

/// Makes the chain spec. `cards` are by the members' names, so that no order has to be kept.
///
/// Each card's proof of possession is verified, all keys must differ, the execution genesis hash is computed, and the
/// result is one that [`Chain::new`] accepts.
///
/// # Errors
/// - [`AssembleError`] for the first rule that is broken.
pub fn assemble(
    parameters: Parameters,
    cards: &BTreeMap<String, MemberCard>,
) -> Result<ChainSpec, AssembleError> {
    check_names(&parameters, cards)?;
    check_cards(cards)?;
    let members = parameters
        .members
        .into_iter()
        .map(|member| {
            let card = cards
                .get(&member.name)
                .ok_or_else(|| AssembleError::MissingCard(member.name.clone()))?;
            Ok(MemberSpec {
                name: member.name,
                bls: card.bls,
                bls_possession: card.bls_possession,
                schnorr: card.schnorr,
                fee_recipient: member.fee_recipient,
            })
        })
        .collect::<Result<_, AssembleError>>()?;
    let mut spec = ChainSpec {
        name: parameters.name,
        chain_id: parameters.chain_id,
        epoch: parameters.epoch,
        slots: parameters.slots,
        bitcoin: parameters.bitcoin,
        deposits: parameters.deposits,
        pegout: parameters.pegout,
        mining: parameters.mining,
        execution: ExecutionSpec {
            genesis_hash: ExecutionHash::ZERO,
            vault: parameters.execution.vault,
            bridge: BRIDGE,
            gas_limit: parameters.execution.gas_limit,
            base_fee_wei: parameters.execution.base_fee_wei,
        },
        members,
    };
    spec.execution.genesis_hash = genesis_hash(&Chain::new(spec.clone())?)?;
    Ok(Chain::new(spec)?.spec().clone())
}

/// The execution genesis hash that a chain's other parameters give; the spec's own is not looked at.
///
/// # Errors
/// - [`AssembleError::ChainGenesis`] or [`AssembleError::Genesis`] where the parameters give no genesis.
pub fn genesis_hash(chain: &Chain) -> Result<ExecutionHash, AssembleError> {
    Ok(genesis_block_hash(&chain_genesis(chain)?)?)
}

fn check_names(
    parameters: &Parameters,
    cards: &BTreeMap<String, MemberCard>,
) -> Result<(), AssembleError> {
    let mut names = BTreeSet::new();
    for member in &parameters.members {
        if !names.insert(&member.name) {
            return Err(AssembleError::DuplicateName(member.name.clone()));
        }
        if !cards.contains_key(&member.name) {
            return Err(AssembleError::MissingCard(member.name.clone()));
        }
    }
    match cards.keys().find(|name| !names.contains(name)) {
        Some(name) => Err(AssembleError::UnknownCard(name.clone())),
        None => Ok(()),
    }
}

fn check_cards(cards: &BTreeMap<String, MemberCard>) -> Result<(), AssembleError> {
    let mut earlier: Vec<(&String, &MemberCard)> = Vec::new();
    for (member, card) in cards {
        let bad = |error| AssembleError::CardBls {
            member: member.clone(),
            error,
        };
        PublicKey::from_bytes(&card.bls)
            .and_then(|key| key.verify_possession(&card.bls_possession))
            .map_err(bad)?;
        if XOnlyPublicKey::from_slice(card.schnorr.as_bytes()).is_err() {
            return Err(AssembleError::CardSchnorr {
                member: member.clone(),
                found: card.schnorr.to_string(),
            });
        }
        for (first, other) in &earlier {
            let key = if other.bls == card.bls {
                "BLS"
            } else if other.schnorr == card.schnorr {
                "Schnorr"
            } else {
                continue;
            };
            return Err(AssembleError::SharedKey {
                first: (*first).clone(),
                second: member.clone(),
                key,
            });
        }
        earlier.push((member, card));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
