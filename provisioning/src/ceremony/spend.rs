//! Evidence that the members can spend from their address: a deposit, and the peg-out that spends it.
//!
//! Signers sign nothing but peg-outs that the chain recorded, so the evidence is the new chain's first one. The signatures
//! in it are verified here by the wallet that the ceremony derived; whether Bitcoin has mined it is for people to look up.

use alys_protocol::federation::SpendError as WalletSpendError;
use alys_protocol::spec::Chain;
use alys_protocol::units::Sats;
use bitcoin::secp256k1::{Message, Secp256k1, VerifyOnly, XOnlyPublicKey, schnorr};
use bitcoin::taproot::ControlBlock;
use bitcoin::{Address, Transaction, TxIn};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;

/// Transactions that do not show a spend by the federation.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum SpendError {
    #[error("expected a raw transaction in hex (getrawtransaction prints it)")]
    Encoding,
    #[error(
        "expected the spending transaction to spend outputs of deposit {deposit} only, found input {input} of {found}"
    )]
    Foreign {
        deposit: bitcoin::Txid,
        input: usize,
        found: bitcoin::OutPoint,
    },
    #[error("expected the spending transaction to have inputs, found none")]
    Nothing,
    #[error(
        "input {input}: expected an output of the deposit that pays to {expected}, found {found}"
    )]
    Script {
        input: usize,
        expected: String,
        found: String,
    },
    #[error("input {input}: the witness is not one of the federation's script path: {reason}")]
    Witness { input: usize, reason: &'static str },
    #[error("input {input}: the signature of {member:?} does not verify")]
    Signature { input: usize, member: String },
    #[error("input {input}: expected signatures of exactly {expected} members, found {found}")]
    Count {
        input: usize,
        expected: u16,
        found: usize,
    },
    #[error(transparent)]
    Sighash(#[from] WalletSpendError),
}

/// What the transactions show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendReport {
    /// The deposit.
    pub deposit: bitcoin::Txid,
    /// What spends it.
    pub spend: bitcoin::Txid,
    /// Satoshis that were spent.
    pub spent_sats: u64,
    /// Members whose signatures are in every input.
    pub signed_by: Vec<String>,
    /// Members who did not have to sign: nothing is shown of their keys here.
    pub not_shown: Vec<String>,
    /// What was paid, in order of the outputs.
    pub outputs: Vec<PaidOutput>,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaidOutput {
    /// Its address, or its script in hex where it has none.
    pub to: String,
    /// Satoshis.
    pub sats: u64,
    /// Whether it goes back to the federation.
    pub federation: bool,
}

/// Reads a transaction's hex.
///
/// # Errors
/// - [`SpendError::Encoding`] where it is none.
pub fn parse(hex: &str) -> Result<Transaction, SpendError> {
    bitcoin::consensus::encode::deserialize_hex(hex.trim()).map_err(|_| SpendError::Encoding)
}

/// Verifies that the members of `chain` spent outputs of `deposit` by `spend`.
///
/// # Errors
/// - [`SpendError`] for the first thing that does not hold.
pub fn verify(
    chain: &Chain,
    deposit: &Transaction,
    spend: &Transaction,
) -> Result<SpendReport, SpendError> {
    let wallet = chain.wallet();
    let txid = deposit.compute_txid();
    if spend.input.is_empty() {
        return Err(SpendError::Nothing);
    }
    let mut values = Vec::new();
    for (place, input) in spend.input.iter().enumerate() {
        values.push(spent_value(chain, deposit, place, input)?);
    }
    let sighashes = wallet.sighashes(spend, &values)?;
    let secp = Secp256k1::verification_only();
    let mut signed_by: Option<BTreeSet<usize>> = None;
    for ((place, input), sighash) in spend.input.iter().enumerate().zip(&sighashes) {
        let signers = signers(&secp, chain, place, input, sighash)?;
        signed_by = Some(match signed_by {
            None => signers,
            Some(before) => before.intersection(&signers).copied().collect(),
        });
    }
    let signed_by = signed_by.unwrap_or_default();
    let members = chain.roster().members().iter().enumerate();
    let (signed, others): (Vec<_>, Vec<_>) =
        members.partition(|(place, _)| signed_by.contains(place));
    let names = |members: Vec<(usize, &alys_protocol::spec::Member)>| {
        let names = members.into_iter().map(|(_, member)| member.name.clone());
        names.collect()
    };
    let network = chain.spec().bitcoin.network;
    Ok(SpendReport {
        deposit: txid,
        spend: spend.compute_txid(),
        spent_sats: values
            .iter()
            .fold(0, |sum, value| sum.saturating_add(value.get())),
        signed_by: names(signed),
        not_shown: names(others),
        outputs: spend
            .output
            .iter()
            .map(|output| PaidOutput {
                to: Address::from_script(&output.script_pubkey, network).map_or_else(
                    |_| output.script_pubkey.to_hex_string(),
                    |address| address.to_string(),
                ),
                sats: output.value.to_sat(),
                federation: output.script_pubkey == *wallet.script_pubkey(),
            })
            .collect(),
    })
}

fn spent_value(
    chain: &Chain,
    deposit: &Transaction,
    place: usize,
    input: &TxIn,
) -> Result<Sats, SpendError> {
    let (txid, found) = (deposit.compute_txid(), input.previous_output);
    let output = usize::try_from(found.vout)
        .ok()
        .filter(|_| found.txid == txid)
        .and_then(|vout| deposit.output.get(vout))
        .ok_or(SpendError::Foreign {
            deposit: txid,
            input: place,
            found,
        })?;
    let expected = chain.wallet().script_pubkey();
    if output.script_pubkey != *expected {
        return Err(SpendError::Script {
            input: place,
            expected: expected.to_hex_string(),
            found: output.script_pubkey.to_hex_string(),
        });
    }
    Ok(Sats::new(output.value.to_sat()))
}

/// Places of the members whose signatures are in an input's witness. Verifies the whole witness (BIP-341, BIP-342).
fn signers(
    secp: &Secp256k1<VerifyOnly>,
    chain: &Chain,
    place: usize,
    input: &TxIn,
    sighash: &[u8; 32],
) -> Result<BTreeSet<usize>, SpendError> {
    let wallet = chain.wallet();
    let wrong = |reason| SpendError::Witness {
        input: place,
        reason,
    };
    let items: Vec<&[u8]> = input.witness.iter().collect();
    let Some(([script, control], signatures)) = items
        .split_last_chunk::<2>()
        .map(|(signatures, rest)| (rest, signatures))
    else {
        return Err(wrong("expected signatures, script and control block"));
    };
    let federation = wallet.federation_script();
    if *script != federation.as_bytes() {
        return Err(wrong("another script than the members' leaf"));
    }
    let output_key = wallet
        .script_pubkey()
        .as_bytes()
        .get(2..)
        .and_then(|key| XOnlyPublicKey::from_slice(key).ok())
        .ok_or_else(|| wrong("the address is not taproot"))?;
    let control = ControlBlock::decode(control).map_err(|_| wrong("no control block"))?;
    if !control.verify_taproot_commitment(secp, output_key, federation) {
        return Err(wrong("the control block does not lead to the address"));
    }
    if signatures.len() != wallet.keys().len() {
        return Err(wrong("expected one signature or nothing for each member"));
    }
    let message = Message::from_digest(*sighash);
    let mut signed = BTreeSet::new();
    // The script takes the last key's signature first.
    let slots = signatures.iter().rev().zip(wallet.keys()).enumerate();
    for (member, (bytes, key)) in slots.filter(|(_, (bytes, _))| !bytes.is_empty()) {
        schnorr::Signature::from_slice(bytes)
            .and_then(|signature| secp.verify_schnorr(&signature, &message, key))
            .map_err(|_| SpendError::Signature {
                input: place,
                member: chain
                    .roster()
                    .members()
                    .get(member)
                    .map_or_else(String::new, |member| member.name.clone()),
            })?;
        signed.insert(member);
    }
    if signed.len() != usize::from(wallet.threshold()) {
        return Err(SpendError::Count {
            input: place,
            expected: wallet.threshold(),
            found: signed.len(),
        });
    }
    Ok(signed)
}
