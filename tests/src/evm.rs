//! Accounts of the side chain and their transactions (EIP-1559).

use alloy_primitives::{Address, Bytes, U256, keccak256};
use alys_execution::EthClient;
use alys_execution::eth::BlockRef;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{ChainId, Wei};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

/// Tip per gas: what the client's pool accepts.
const TIP: u128 = 1_000_000_000;
/// The most per gas, base fee included.
const MAX_FEE: u128 = 2_000_000_000;

/// An account whose key everybody can know: it is the hash of its name. For test networks only.
#[derive(Debug, Clone)]
pub struct TestAccount {
    secret: SecretKey,
    chain: ChainId,
}

/// What a transaction does.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// Whom it calls; a deployment without.
    pub to: Option<EvmAddress>,
    /// What it pays.
    pub value: Wei,
    /// What it says.
    pub data: Vec<u8>,
    /// The most gas that it may use.
    pub gas: u64,
}

impl TestAccount {
    /// The account of a name on a chain.
    ///
    /// # Errors
    /// - never in practice: where the hash of the name is no key.
    pub fn new(name: &str, chain: ChainId) -> anyhow::Result<Self> {
        let secret = SecretKey::from_slice(keccak256(name).as_slice())?;
        Ok(Self { secret, chain })
    }

    /// The private key as wallets import it.
    pub fn private_key(&self) -> String {
        Bytes::copy_from_slice(&self.secret.secret_bytes()).to_string()
    }

    /// The address.
    pub fn address(&self) -> EvmAddress {
        let key = PublicKey::from_secret_key(SECP256K1, &self.secret).serialize_uncompressed();
        let hash = keccak256(&key[1..]);
        EvmAddress::new(Address::from_word(hash).into_array())
    }

    /// The address of the contract that the transaction with this nonce deploys.
    pub fn contract(&self, nonce: u64) -> EvmAddress {
        EvmAddress::new(
            Address::new(self.address().to_bytes())
                .create(nonce)
                .into_array(),
        )
    }

    /// The nonce of the next transaction, as of the certified head.
    ///
    /// # Errors
    /// - where the node cannot be asked.
    pub async fn nonce(&self, eth: &EthClient) -> anyhow::Result<u64> {
        Ok(eth
            .transaction_count(self.address(), BlockRef::Latest)
            .await?)
    }

    /// A signed transaction.
    pub fn sign(&self, nonce: u64, call: &Call) -> Vec<u8> {
        let to = call
            .to
            .map_or_else(Bytes::new, |to| Bytes::copy_from_slice(to.as_bytes()));
        let mut fields: Vec<Vec<u8>> = vec![
            alloy_rlp::encode(self.chain.get()),
            alloy_rlp::encode(nonce),
            alloy_rlp::encode(TIP),
            alloy_rlp::encode(MAX_FEE),
            alloy_rlp::encode(call.gas),
            alloy_rlp::encode(to),
            alloy_rlp::encode(call.value.get()),
            alloy_rlp::encode(Bytes::copy_from_slice(&call.data)),
            // No access list.
            vec![0xc0],
        ];
        let digest = keccak256(typed(&fields));
        let signature =
            SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &self.secret);
        let (parity, words) = signature.serialize_compact();
        let (r, s) = words.split_at(32);
        fields.push(alloy_rlp::encode(i32::from(parity) == 1));
        fields.push(alloy_rlp::encode(U256::from_be_slice(r)));
        fields.push(alloy_rlp::encode(U256::from_be_slice(s)));
        typed(&fields)
    }
}

/// EIP-2718 type 2 around a list.
fn typed(fields: &[Vec<u8>]) -> Vec<u8> {
    let payload = fields.concat();
    let mut bytes = vec![2];
    alloy_rlp::Header {
        list: true,
        payload_length: payload.len(),
    }
    .encode(&mut bytes);
    bytes.extend(payload);
    bytes
}
