//! The rules that a chain spec must keep. A wrong one may come from somebody who wants the federation to fail later, so
//! every number that later arithmetic or a payment depends on has a range here.

use super::roster::x_only;
use super::{ChainSpec, Roster, SpecError, Target};
use crate::certificate::MAX_MEMBERS;
use crate::execution::{BRIDGE, reserved};
use crate::federation::FederationWallet;
use crate::peg::{MAX_BATCH_BURNS, MAX_BATCH_INPUTS, MAX_BATCH_VSIZE, fee};
use crate::signer::MAX_DEPOSIT_PROOFS;
use crate::units::Sats;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bitcoin::Network;
use bitcoin::secp256k1::XOnlyPublicKey;
use core::fmt::Display;
use core::ops::RangeInclusive;

/// Characters of a name at most.
pub(super) const MAX_NAME: usize = 64;
/// A slot is at most a minute long.
pub(super) const MAX_SLOT_MS: u64 = 60_000;
/// Genesis is before the year 10000, so that no clock of the execution layer or of Bitcoin overflows.
const MAX_GENESIS_MS: u64 = 253_402_300_799_999;
/// Bitcoin reads larger numbers in height fields as times (`LOCKTIME_THRESHOLD`).
const MAX_START_HEIGHT: u32 = 499_999_999;
/// Milliseconds between Bitcoin blocks, on average.
const BITCOIN_BLOCK_MS: u64 = 600_000;
/// Bitcoin Core sends nothing that pays more than 0.1 BTC per 1000 vB (`DEFAULT_MAX_RAW_TX_FEE_RATE`).
const MAX_FEE_RATE: u64 = 10_000_000;
/// What every Bitcoin node relays.
const MIN_FEE_RATE: u64 = 1_000;
/// EIP-1559 cannot move a base fee below 7 wei; and at 1000 satoshi per gas nobody could do anything.
const BASE_FEE_WEI: RangeInclusive<u128> = 7..=10_000_000_000_000;
/// A script of the longest template that a burn pays: P2WSH and P2TR have 34 bytes.
const LONGEST_TEMPLATE: [u8; 34] = [0; 34];
/// The highest dust limit of the templates that a burn pays: P2PKH's.
const MAX_TEMPLATE_DUST: u64 = 546;

pub(super) fn name(found: &str) -> Result<(), SpecError> {
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if (1..=MAX_NAME).contains(&found.len()) && found.bytes().all(printable) {
        return Ok(());
    }
    Err(SpecError::Name {
        found: found.chars().take(MAX_NAME).collect(),
    })
}

fn in_range<T: PartialOrd + Display>(
    field: &'static str,
    found: T,
    range: RangeInclusive<T>,
) -> Result<(), SpecError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(SpecError::Range {
        field,
        expected: format!("{} to {}", range.start(), range.end()),
        found: format!("{found}"),
    })
}

/// Each number for itself, or beside the numbers that limit it.
pub(super) fn ranges(spec: &ChainSpec, roster: &Roster) -> Result<(), SpecError> {
    name(&spec.name)?;
    // EIP-2294.
    in_range("chain_id", spec.chain_id.get(), 1..=u64::MAX / 2 - 36)?;
    slots(spec)?;
    bitcoin(spec, roster)?;
    pegs(spec, roster)?;
    mining(spec)?;
    in_range(
        "execution.gas_limit",
        spec.execution.gas_limit,
        5_000_000..=1 << 40,
    )?;
    in_range(
        "execution.base_fee_wei",
        spec.execution.base_fee_wei.get(),
        BASE_FEE_WEI,
    )
}

fn slots(spec: &ChainSpec) -> Result<(), SpecError> {
    let duration = spec.slots.duration_ms;
    if !(1000..=MAX_SLOT_MS).contains(&duration) || !duration.is_multiple_of(1000) {
        return Err(SpecError::SlotDuration { found: duration });
    }
    let latest = MAX_GENESIS_MS.checked_div(duration).unwrap_or_default();
    in_range("slots.genesis", spec.slots.genesis.get(), 0..=latest)
}

fn bitcoin(spec: &ChainSpec, roster: &Roster) -> Result<(), SpecError> {
    let bitcoin = &spec.bitcoin;
    match bitcoin.network {
        Network::Bitcoin | Network::Testnet4 | Network::Signet | Network::Regtest => {}
        other => return Err(SpecError::Network(other)),
    }
    in_range(
        "bitcoin.start_height",
        bitcoin.start_height.get(),
        0..=MAX_START_HEIGHT,
    )?;
    threshold(spec, roster)?;
    // As many as a roster: more than 999 could not even be spent by (BIP-342's stack limit).
    let keys = bitcoin.recovery_keys.len();
    in_range("number of bitcoin.recovery_keys", keys, 1..=MAX_MEMBERS)?;
    in_range(
        "bitcoin.recovery_threshold",
        usize::from(bitcoin.recovery_threshold),
        1..=keys,
    )
}

/// `max(f, floor(n/2)) < m <= n - f` (design 5).
fn threshold(spec: &ChainSpec, roster: &Roster) -> Result<(), SpecError> {
    let members = roster.len();
    let above = roster.faults().max(members / 2);
    let at_most = members.saturating_sub(roster.faults());
    let threshold = usize::from(spec.bitcoin.threshold);
    if threshold <= above || threshold > at_most {
        return Err(SpecError::Threshold {
            members,
            above,
            at_most,
            found: spec.bitcoin.threshold,
        });
    }
    Ok(())
}

fn pegs(spec: &ChainSpec, roster: &Roster) -> Result<(), SpecError> {
    let (deposits, pegout) = (&spec.deposits, &spec.pegout);
    in_range("deposits.confirmations", deposits.confirmations, 1..=10_000)?;
    // One place for a deposit at least, and `n + 1` for fees; no more deposits than a request to a signer proves.
    let fees = roster.len().saturating_add(1);
    in_range(
        "deposits.max_withdrawals",
        u64::from(deposits.max_withdrawals),
        (fees as u64).saturating_add(1)..=fees.saturating_add(MAX_DEPOSIT_PROOFS) as u64,
    )?;
    in_range(
        "pegout.max_sats",
        pegout.max_sats,
        pegout.min_sats..=Sats::MAX_MONEY,
    )?;
    in_range(
        "pegout.max_batch_value_sats",
        pegout.max_batch_value_sats,
        pegout.max_sats..=Sats::MAX_MONEY,
    )?;
    in_range(
        "pegout.max_burns",
        u64::from(pegout.max_burns),
        1..=MAX_BATCH_BURNS as u64,
    )?;
    // With one input, coins could not be merged, and a burn above the largest coin never be paid.
    in_range(
        "pegout.max_inputs",
        u64::from(pegout.max_inputs),
        2..=MAX_BATCH_INPUTS as u64,
    )?;
    in_range(
        "pegout.max_fee_rate_sats_per_kvb",
        pegout.max_fee_rate_sats_per_kvb.get(),
        MIN_FEE_RATE..=MAX_FEE_RATE,
    )?;
    // A coin is seen near its timelock once the cursor is, which is `confirmations` behind; and one that is moved as soon
    // as half its time has passed would only ever pay fees.
    let margin = u64::from(pegout.refresh_margin_blocks);
    let unseen = u64::from(deposits.confirmations);
    in_range(
        "pegout.refresh_margin_blocks",
        margin,
        unseen.saturating_add(1)..=u64::from(spec.bitcoin.recovery_timelock_blocks / 2),
    )?;
    // A batch within that margin, or the recovery keys get the coins.
    in_range(
        "pegout.batch_interval_slots",
        pegout.batch_interval_slots,
        1..=margin
            .saturating_sub(unseen)
            .saturating_mul(BITCOIN_BLOCK_MS)
            .checked_div(spec.slots.duration_ms)
            .unwrap_or_default(),
    )
}

fn mining(spec: &ChainSpec) -> Result<(), SpecError> {
    let mining = &spec.mining;
    in_range(
        "mining.slots_per_record",
        mining.slots_per_record,
        1..=1 << 32,
    )?;
    // A shorter half-life makes the target swing by more than 2 between two records on schedule.
    in_range(
        "mining.half_life_slots",
        mining.half_life_slots,
        mining.slots_per_record..=1 << 32,
    )?;
    in_range(
        "mining.max_blocks_without_pow",
        mining.max_blocks_without_pow,
        1..=1 << 32,
    )?;
    if mining.anchor_target > mining.pow_limit || mining.anchor_target == Target::ZERO {
        return Err(SpecError::Range {
            field: "mining.anchor_target",
            expected: format!("above zero, at most {}", mining.pow_limit),
            found: format!("{}", mining.anchor_target),
        });
    }
    Ok(())
}

/// The Bridge is where genesis has it. The vault has no code and nobody's key; fees never flow back into it.
pub(super) fn addresses(spec: &ChainSpec) -> Result<(), SpecError> {
    let (vault, bridge) = (spec.execution.vault, spec.execution.bridge);
    if bridge != BRIDGE {
        return Err(SpecError::Bridge {
            expected: BRIDGE,
            found: bridge,
        });
    }
    let free = |field: String, found, owner: Option<&'static str>| match owner {
        None => Ok(()),
        Some(owner) => Err(SpecError::Address {
            field,
            found,
            owner,
        }),
    };
    free("execution.vault".into(), vault, reserved(vault))?;
    for member in &spec.members {
        let address = member.fee_recipient;
        let owner = reserved(address).or((address == vault).then_some("the vault's"));
        let field = format!("fee_recipient of {:?}", member.name);
        free(field, address, owner)?;
    }
    Ok(())
}

/// The recovery keys, none of them a member's.
pub(super) fn recovery_keys(
    spec: &ChainSpec,
    roster: &Roster,
) -> Result<Vec<XOnlyPublicKey>, SpecError> {
    let parse = |bytes| {
        let key = x_only(bytes)?;
        let mut members = roster.members().iter();
        match members.find(|member| member.schnorr == key) {
            None => Ok(key),
            Some(member) => Err(SpecError::RecoveryKey(member.name.clone())),
        }
    };
    spec.bitcoin.recovery_keys.iter().map(parse).collect()
}

/// What the wallet's size decides: dust, the largest batch, and the smallest burn.
pub(super) fn batches(spec: &ChainSpec, wallet: &FederationWallet) -> Result<(), SpecError> {
    let (dust, pegout) = (wallet.dust(), &spec.pegout);
    in_range(
        "deposits.min_sats",
        spec.deposits.min_sats,
        dust..=Sats::MAX_MONEY,
    )?;
    let inputs = usize::try_from(pegout.max_inputs).unwrap_or(usize::MAX);
    let burns = usize::try_from(pegout.max_burns).unwrap_or(usize::MAX);
    let vsize = |burns| {
        let payments = core::iter::repeat_n(&LONGEST_TEMPLATE[..], burns);
        let change = wallet.script_pubkey().as_bytes();
        wallet.batch_vsize(inputs, payments.chain([change]))
    };
    let largest = vsize(burns);
    if largest > MAX_BATCH_VSIZE {
        return Err(SpecError::BatchSize { found: largest });
    }
    let expected = fee(pegout.max_fee_rate_sats_per_kvb, vsize(1)).map_or(Sats::MAX, |fee| {
        fee.saturating_add(dust.get().max(MAX_TEMPLATE_DUST))
    });
    if pegout.min_sats < expected {
        return Err(SpecError::MinPegOut {
            expected,
            found: pegout.min_sats,
        });
    }
    Ok(())
}
