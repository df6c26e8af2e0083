//! The federation's Bitcoin wallet: `tr(NUMS, {multi_a(m, keys), recovery})` (design 9).

use crate::hash::{self, TaggedHasher};
use crate::units::{ChainId, Sats};
use alloc::vec::Vec;
use bitcoin::hashes::Hash as _;
use bitcoin::opcodes::all::{OP_CHECKSIG, OP_CHECKSIGADD, OP_CSV, OP_NUMEQUAL, OP_NUMEQUALVERIFY};
use bitcoin::script::Builder;
use bitcoin::secp256k1::{Scalar, Secp256k1, Verification, XOnlyPublicKey};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::taproot::{ControlBlock, LeafVersion, TaprootBuilder, TaprootSpendInfo};
use bitcoin::{
    Address, Amount, Network, ScriptBuf, Sequence, TapLeafHash, TapSighashType, Transaction, TxIn,
    TxOut, Witness, absolute, transaction,
};
use thiserror::Error;

/// BIP-341's point H, whose discrete logarithm nobody knows (lift_x of the hash of G).
pub const BIP341_H: [u8; 32] = [
    0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a, 0x5e,
    0x07, 0x8a, 0x5a, 0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a, 0xc0,
];

/// A batch's inputs signal replaceability (BIP-125) and use no relative lock.
pub const BATCH_SEQUENCE: Sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;

/// Keys that may spend the federation's coins once they have not moved for the timelock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Signatures needed.
    pub threshold: u16,
    /// The keys, in script order.
    pub keys: Vec<XOnlyPublicKey>,
    /// Blocks that a coin must be unmoved for (BIP-68 relative lock).
    pub timelock_blocks: u16,
}

/// The federation's taproot output and how it is spent. Immutable; made from a checked chain spec.
#[derive(Debug, Clone)]
pub struct FederationWallet {
    keys: Vec<XOnlyPublicKey>,
    threshold: u16,
    internal_key: XOnlyPublicKey,
    federation_script: ScriptBuf,
    recovery_script: ScriptBuf,
    timelock_blocks: u16,
    control_block: ControlBlock,
    script_pubkey: ScriptBuf,
}

/// Keys or sizes that make no wallet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WalletError {
    /// A threshold of zero or above the number of keys.
    #[error("expected a threshold from 1 to the {keys} keys, found {threshold}")]
    Threshold {
        /// Keys given.
        keys: usize,
        /// Threshold found.
        threshold: u16,
    },
    /// A key twice.
    #[error("key {0} is given twice")]
    DuplicateKey(XOnlyPublicKey),
    /// A timelock of zero.
    #[error("the recovery timelock is 0 blocks, so recovery keys could spend at once")]
    NoTimelock,
    /// The curve arithmetic of the tree failed.
    #[error("the taproot output cannot be made: {0}")]
    Taproot(&'static str),
}

/// A transaction that cannot be signed or finalised.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpendError {
    /// As many previous outputs as inputs are needed.
    #[error("expected {inputs} input values, found {values}")]
    Values {
        /// Inputs of the transaction.
        inputs: usize,
        /// Values given.
        values: usize,
    },
    /// The sighash cannot be computed.
    #[error("no signature hash for input {0}")]
    Sighash(usize),
    /// Not one slot for each key.
    #[error(
        "expected {expected} signature slots with exactly {threshold} filled, found {slots} with {filled}"
    )]
    Signatures {
        /// Keys of the wallet.
        expected: usize,
        /// Signatures needed.
        threshold: u16,
        /// Slots given.
        slots: usize,
        /// Filled slots.
        filled: usize,
    },
}

/// The unspendable internal key: `H + tagged("alys/nums/1", chain_id) * G`.
///
/// Anyone can recompute the tweak, so anyone can see that nobody knows the key (BIP-341, "constructing and spending
/// taproot outputs").
///
/// # Errors
/// - [`WalletError::Taproot`] where the tweak is no scalar (probability 2^-128).
pub fn internal_key<C: Verification>(
    secp: &Secp256k1<C>,
    chain_id: ChainId,
) -> Result<XOnlyPublicKey, WalletError> {
    let h = XOnlyPublicKey::from_slice(&BIP341_H)
        .map_err(|_| WalletError::Taproot("H is no x coordinate"))?;
    let tweak = Scalar::from_be_bytes(TaggedHasher::new(hash::NUMS, chain_id).finish())
        .map_err(|_| WalletError::Taproot("the tweak is above the group order"))?;
    h.add_tweak(secp, &tweak)
        .map(|(key, _parity)| key)
        .map_err(|_| WalletError::Taproot("the tweaked key is infinity"))
}

fn check(keys: &[XOnlyPublicKey], threshold: u16) -> Result<(), WalletError> {
    if threshold == 0 || usize::from(threshold) > keys.len() {
        return Err(WalletError::Threshold {
            keys: keys.len(),
            threshold,
        });
    }
    for (place, key) in keys.iter().enumerate() {
        if keys.iter().take(place).any(|earlier| earlier == key) {
            return Err(WalletError::DuplicateKey(*key));
        }
    }
    Ok(())
}

/// `<k1> CHECKSIG <k2> CHECKSIGADD ... <m>`: miniscript's `multi_a` without its last opcode.
fn multi_a(keys: &[XOnlyPublicKey], threshold: u16) -> Builder {
    keys.iter()
        .enumerate()
        .fold(Builder::new(), |script, (place, key)| {
            let opcode = if place == 0 {
                OP_CHECKSIG
            } else {
                OP_CHECKSIGADD
            };
            script.push_x_only_key(key).push_opcode(opcode)
        })
        .push_int(i64::from(threshold))
}

impl FederationWallet {
    /// Builds the wallet of a federation.
    ///
    /// # Errors
    /// - [`WalletError`] where thresholds, keys or the timelock make no safe wallet.
    pub fn new<C: Verification>(
        secp: &Secp256k1<C>,
        chain_id: ChainId,
        keys: Vec<XOnlyPublicKey>,
        threshold: u16,
        recovery: &Recovery,
    ) -> Result<Self, WalletError> {
        check(&keys, threshold)?;
        check(&recovery.keys, recovery.threshold)?;
        if recovery.timelock_blocks == 0 {
            return Err(WalletError::NoTimelock);
        }
        let federation_script = multi_a(&keys, threshold)
            .push_opcode(OP_NUMEQUAL)
            .into_script();
        // miniscript: and_v(v:multi_a(k, keys), older(timelock)).
        let recovery_script = multi_a(&recovery.keys, recovery.threshold)
            .push_opcode(OP_NUMEQUALVERIFY)
            .push_int(i64::from(recovery.timelock_blocks))
            .push_opcode(OP_CSV)
            .into_script();
        let internal_key = internal_key(secp, chain_id)?;
        let spend_info: TaprootSpendInfo = TaprootBuilder::new()
            .add_leaf(1, federation_script.clone())
            .and_then(|builder| builder.add_leaf(1, recovery_script.clone()))
            .map_err(|_| WalletError::Taproot("tree"))?
            .finalize(secp, internal_key)
            .map_err(|_| WalletError::Taproot("finalize"))?;
        let control_block = spend_info
            .control_block(&(federation_script.clone(), LeafVersion::TapScript))
            .ok_or(WalletError::Taproot("no control block"))?;
        Ok(Self {
            keys,
            threshold,
            internal_key,
            federation_script,
            recovery_script,
            timelock_blocks: recovery.timelock_blocks,
            control_block,
            script_pubkey: ScriptBuf::new_p2tr_tweaked(spend_info.output_key()),
        })
    }

    /// The members' keys, in script order, which is roster order.
    pub fn keys(&self) -> &[XOnlyPublicKey] {
        &self.keys
    }

    /// Signatures that a spend needs.
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// Blocks after which recovery keys may spend an unmoved coin.
    pub fn timelock_blocks(&self) -> u16 {
        self.timelock_blocks
    }

    /// The unspendable internal key.
    pub fn internal_key(&self) -> XOnlyPublicKey {
        self.internal_key
    }

    /// The leaf that members spend by.
    pub fn federation_script(&self) -> &ScriptBuf {
        &self.federation_script
    }

    /// The leaf that recovery keys spend by.
    pub fn recovery_script(&self) -> &ScriptBuf {
        &self.recovery_script
    }

    /// The script that deposits pay to.
    pub fn script_pubkey(&self) -> &ScriptBuf {
        &self.script_pubkey
    }

    /// The deposit address.
    ///
    /// # Errors
    /// - [`WalletError::Taproot`] never for a wallet that was made here.
    pub fn address(&self, network: Network) -> Result<Address, WalletError> {
        Address::from_script(&self.script_pubkey, network)
            .map_err(|_| WalletError::Taproot("no address for the output"))
    }

    /// The smallest output to the federation's script that nodes relay.
    pub fn dust(&self) -> Sats {
        Sats::new(self.script_pubkey.minimal_non_dust().to_sat())
    }

    /// Virtual size in vbytes of a signed batch with so many inputs and these output scripts.
    ///
    /// Exact: every input's witness has `threshold` 64-byte signatures (SIGHASH_DEFAULT) and empty ones for the rest.
    pub fn batch_vsize<'a>(
        &self,
        inputs: usize,
        output_scripts: impl IntoIterator<Item = &'a [u8]>,
    ) -> u64 {
        let witness = self.witness(&self.size_template());
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: (0..inputs)
                .map(|_| TxIn {
                    sequence: BATCH_SEQUENCE,
                    witness: witness.clone(),
                    ..TxIn::default()
                })
                .collect(),
            output: output_scripts
                .into_iter()
                .map(|script| TxOut {
                    value: Amount::ZERO,
                    script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
                })
                .collect(),
        };
        transaction.vsize() as u64
    }

    fn size_template(&self) -> Vec<Option<[u8; 64]>> {
        (0..self.keys.len())
            .map(|place| (place < usize::from(self.threshold)).then_some([0; 64]))
            .collect()
    }

    /// The witness of one input from one slot per key; the script takes the last key's signature first.
    fn witness(&self, signatures: &[Option<[u8; 64]>]) -> Witness {
        let mut witness = Witness::new();
        for signature in signatures.iter().rev() {
            match signature {
                Some(signature) => witness.push(signature),
                None => witness.push([]),
            }
        }
        witness.push(self.federation_script.as_bytes());
        witness.push(self.control_block.serialize());
        witness
    }

    /// What each input's Schnorr signatures sign (BIP-341, SIGHASH_DEFAULT, federation leaf).
    ///
    /// `values` are the spent outputs' amounts; the hash covers all of them, so a wrong one makes every signature worthless.
    ///
    /// # Errors
    /// - [`SpendError::Values`] where there is not one value per input;
    /// - [`SpendError::Sighash`] where an input has no hash.
    pub fn sighashes(
        &self,
        transaction: &Transaction,
        values: &[Sats],
    ) -> Result<Vec<[u8; 32]>, SpendError> {
        if values.len() != transaction.input.len() {
            return Err(SpendError::Values {
                inputs: transaction.input.len(),
                values: values.len(),
            });
        }
        let spent: Vec<TxOut> = values
            .iter()
            .map(|value| TxOut {
                value: Amount::from_sat(value.get()),
                script_pubkey: self.script_pubkey.clone(),
            })
            .collect();
        let leaf = TapLeafHash::from_script(&self.federation_script, LeafVersion::TapScript);
        let mut cache = SighashCache::new(transaction);
        (0..transaction.input.len())
            .map(|input| {
                cache
                    .taproot_script_spend_signature_hash(
                        input,
                        &Prevouts::All(&spent),
                        leaf,
                        TapSighashType::Default,
                    )
                    .map(|hash| hash.to_byte_array())
                    .map_err(|_| SpendError::Sighash(input))
            })
            .collect()
    }

    /// Puts signatures into a transaction: for each input one slot per key, exactly `threshold` of them filled.
    ///
    /// # Errors
    /// - [`SpendError::Values`] where there is not one set of slots per input;
    /// - [`SpendError::Signatures`] where a set has the wrong number of slots or signatures.
    pub fn finalise(
        &self,
        transaction: &Transaction,
        signatures: &[Vec<Option<[u8; 64]>>],
    ) -> Result<Transaction, SpendError> {
        if signatures.len() != transaction.input.len() {
            return Err(SpendError::Values {
                inputs: transaction.input.len(),
                values: signatures.len(),
            });
        }
        let mut signed = transaction.clone();
        for (input, slots) in signed.input.iter_mut().zip(signatures) {
            let filled = slots.iter().flatten().count();
            if slots.len() != self.keys.len() || filled != usize::from(self.threshold) {
                return Err(SpendError::Signatures {
                    expected: self.keys.len(),
                    threshold: self.threshold,
                    slots: slots.len(),
                    filled,
                });
            }
            input.witness = self.witness(slots);
        }
        Ok(signed)
    }
}
