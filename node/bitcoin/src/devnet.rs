//! What the devnet and the tests do with a Bitcoin node beyond following it: make blocks, pay from a wallet, and
//! provoke reorganisations. Refused on any network but regtest, where it would be meaningless or expensive.

use crate::client::BitcoinClient;
use crate::error::{RpcCode, RpcError};
use bitcoin::address::NetworkUnchecked;
use bitcoin::consensus::Encodable as _;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hex::DisplayHex as _;
use bitcoin::script::PushBytesBuf;
use bitcoin::{Address, Amount, BlockHash, Network, ScriptBuf, Transaction, TxOut, Txid, VarInt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use thiserror::Error;

/// Calls here have effects and are made once; making many blocks takes a while.
const LIMIT: Duration = Duration::from_secs(50);

/// Why a devnet action failed.
#[derive(Debug, Error)]
pub enum DevnetError {
    /// Only regtest is for play.
    #[error("expected network regtest, found {found}")]
    NotRegtest {
        /// The client's network.
        found: Network,
    },
    /// A wallet's name becomes part of an address (URL) and of a folder.
    #[error("expected a wallet name of letters, digits, - and _, found {found:?}")]
    WalletName {
        /// What was asked for.
        found: String,
    },
    /// The node says no or cannot be asked.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// Control of a regtest node's chain.
#[derive(Debug, Clone)]
pub struct DevnetNode(BitcoinClient);

/// A wallet in a regtest node. Its keys are worth nothing.
#[derive(Debug, Clone)]
pub struct DevnetWallet {
    node: BitcoinClient,
    wallet: BitcoinClient,
}

impl DevnetNode {
    /// Control of the node behind a client.
    ///
    /// # Errors
    /// - [`DevnetError::NotRegtest`] for any other network.
    pub fn new(client: BitcoinClient) -> Result<Self, DevnetError> {
        match client.network() {
            Network::Regtest => Ok(Self(client)),
            found => Err(DevnetError::NotRegtest { found }),
        }
    }

    /// The client behind it.
    pub fn client(&self) -> &BitcoinClient {
        &self.0
    }

    /// Mines blocks whose coinbases pay to `address`; gives their hashes, lowest first.
    ///
    /// After [`Self::invalidate_block`] use another address: the same one at the same height and time makes the same,
    /// invalid block.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn generate(
        &self,
        blocks: u32,
        address: &Address,
    ) -> Result<Vec<BlockHash>, DevnetError> {
        self.call("generatetoaddress", &[json!(blocks), json!(address)])
            .await
    }

    /// Declares a block invalid: the node leaves it and everything on top of it.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn invalidate_block(&self, hash: BlockHash) -> Result<(), DevnetError> {
        self.call("invalidateblock", &[json!(hash)]).await
    }

    /// Takes [`Self::invalidate_block`] back.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn reconsider_block(&self, hash: BlockHash) -> Result<(), DevnetError> {
        self.call("reconsiderblock", &[json!(hash)]).await
    }

    /// Has the node write all that it knows to disk. A node that is killed otherwise forgets the blocks of up to an
    /// hour, and alone on its regtest it cannot get them back from anybody.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn flush(&self) -> Result<(), DevnetError> {
        // Statistics over the unspent outputs are read from disk, hence written first.
        let _: Value = self.call("gettxoutsetinfo", &[json!("none")]).await?;
        Ok(())
    }

    /// Sets the node's clock (Unix seconds), or back to the system's with 0.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn set_mock_time(&self, unix_seconds: u32) -> Result<(), DevnetError> {
        self.call("setmocktime", &[json!(unix_seconds)]).await
    }

    /// Connects to another node's p2p address (`host:port`) and keeps trying.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn add_peer(&self, address: &str) -> Result<(), DevnetError> {
        self.call("addnode", &[json!(address), json!("add")]).await
    }

    /// Connects to another node's p2p address now, in addition to the attempts of [`Self::add_peer`].
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn connect_once(&self, address: &str) -> Result<(), DevnetError> {
        self.call("addnode", &[json!(address), json!("onetry")])
            .await
    }

    /// Switches all p2p traffic of the node off or on, which parts it from its peers.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn set_network_active(&self, active: bool) -> Result<(), DevnetError> {
        let _: bool = self.call("setnetworkactive", &[json!(active)]).await?;
        Ok(())
    }

    /// Opens a wallet of the node, making it first where there is none; the node opens it again at its next starts.
    ///
    /// # Errors
    /// - [`DevnetError::WalletName`] for a name that is more than a name;
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn wallet(&self, name: &str) -> Result<DevnetWallet, DevnetError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(DevnetError::WalletName { found: name.into() });
        }
        let loaded: Result<Value, _> = self.call("loadwallet", &[json!(name), json!(true)]).await;
        match loaded {
            Ok(_) => {}
            Err(DevnetError::Rpc(error))
                if error.code() == Some(RpcCode::WALLET_ALREADY_LOADED) => {}
            Err(DevnetError::Rpc(error)) if error.code() == Some(RpcCode::WALLET_NOT_FOUND) => {
                // Private keys, not blank, no passphrase, addresses may be used twice, descriptors, loaded at starts.
                let options = [
                    json!(name),
                    json!(false),
                    json!(false),
                    json!(""),
                    json!(false),
                ];
                let params = [&options[..], &[json!(true), json!(true)]].concat();
                let _: Value = self.call("createwallet", &params).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(DevnetWallet {
            node: self.0.clone(),
            wallet: self.0.for_wallet(name),
        })
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<T, DevnetError> {
        Ok(self.0.call_once(method, params, LIMIT).await?)
    }
}

#[derive(Deserialize)]
struct Funded {
    hex: String,
}

#[derive(Deserialize)]
struct Signed {
    hex: String,
    complete: bool,
}

impl DevnetWallet {
    /// A new address of the wallet: taproot (P2TR).
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn new_address(&self) -> Result<Address, DevnetError> {
        self.new_address_of("bech32m").await
    }

    /// A new address of a type that the node names: `legacy`, `p2sh-segwit`, `bech32` or `bech32m`.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn new_address_of(&self, address_type: &str) -> Result<Address, DevnetError> {
        const METHOD: &str = "getnewaddress";
        let address: Address<NetworkUnchecked> =
            self.call(METHOD, &[json!(""), json!(address_type)]).await?;
        Ok(address
            .require_network(self.node.network())
            .map_err(|error| RpcError::malformed(METHOD, error))?)
    }

    /// What the wallet can spend: confirmed, and change of its own that is not.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn balance(&self) -> Result<Amount, DevnetError> {
        #[derive(Deserialize)]
        struct Btc(#[serde(with = "bitcoin::amount::serde::as_btc")] Amount);
        let balance: Btc = self.call("getbalance", &[]).await?;
        Ok(balance.0)
    }

    /// Pays an address at the wallet's own fee rate.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn send_to(&self, address: &Address, amount: Amount) -> Result<Txid, DevnetError> {
        let amount = amount.to_string_in(bitcoin::Denomination::Bitcoin);
        self.call("sendtoaddress", &[json!(address), json!(amount)])
            .await
    }

    /// Pays to `script` with `data` in an OP_RETURN output: a deposit, where the script is the federation's.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn send_with_data(
        &self,
        script: ScriptBuf,
        amount: Amount,
        data: PushBytesBuf,
    ) -> Result<Transaction, DevnetError> {
        let payment = TxOut {
            value: amount,
            script_pubkey: script,
        };
        let data = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return(data),
        };
        self.send_outputs(&[payment, data]).await
    }

    /// Pays exactly these outputs, in this order, with change after them; signs and broadcasts.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn send_outputs(&self, outputs: &[TxOut]) -> Result<Transaction, DevnetError> {
        let transaction = self.sign_outputs(outputs).await?;
        self.publish(&transaction).await?;
        Ok(transaction)
    }

    /// Like [`Self::send_outputs`], without broadcasting; its inputs are not reserved.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn sign_outputs(&self, outputs: &[TxOut]) -> Result<Transaction, DevnetError> {
        self.fund_and_sign(outputs, json!({ "changePosition": outputs.len() }))
            .await
    }

    async fn fund_and_sign(
        &self,
        outputs: &[TxOut],
        options: Value,
    ) -> Result<Transaction, DevnetError> {
        let params = [json!(unfunded(outputs)), options, json!(false)];
        let funded: Funded = self.call("fundrawtransaction", &params).await?;
        let transaction = deserialize_hex(&funded.hex)
            .map_err(|error| RpcError::malformed("fundrawtransaction", error))?;
        self.sign(&transaction).await
    }

    /// Signs every input with the wallet's keys.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no, cannot be asked, or lacks a key.
    pub async fn sign(&self, transaction: &Transaction) -> Result<Transaction, DevnetError> {
        const METHOD: &str = "signrawtransactionwithwallet";
        let params = [json!(serialize_hex(transaction))];
        let signed: Signed = self.call(METHOD, &params).await?;
        if !signed.complete {
            return Err(RpcError::malformed(METHOD, "a signature is missing").into());
        }
        Ok(deserialize_hex(&signed.hex).map_err(|error| RpcError::malformed(METHOD, error))?)
    }

    /// Moves everything that the wallet can spend to one script; signs and broadcasts.
    ///
    /// # Errors
    /// - [`DevnetError::Rpc`] where the node says no or cannot be asked.
    pub async fn sweep(&self, script: &bitcoin::Script) -> Result<Transaction, DevnetError> {
        let output = TxOut {
            value: self.balance().await?,
            script_pubkey: script.into(),
        };
        // The fee comes out of the amount, so that nothing is left.
        let options = json!({ "subtractFeeFromOutputs": [0] });
        let transaction = self.fund_and_sign(&[output], options).await?;
        self.publish(&transaction).await?;
        Ok(transaction)
    }

    async fn publish(&self, transaction: &Transaction) -> Result<(), DevnetError> {
        let params = [json!(serialize_hex(transaction))];
        let _: Txid = self.call("sendrawtransaction", &params).await?;
        Ok(())
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<T, DevnetError> {
        Ok(self.wallet.call_once(method, params, LIMIT).await?)
    }
}

/// A transaction without inputs in the format from before BIP-144. By BIP-144 its zero inputs read as a marker,
/// which is why `bitcoin` and the node disagree on how to write it.
fn unfunded(outputs: &[TxOut]) -> String {
    let mut bytes = Vec::new();
    bytes.extend(2i32.to_le_bytes());
    bytes.extend(bitcoin::consensus::serialize(&VarInt(0)));
    // Writing to memory cannot fail.
    let _ = outputs.to_vec().consensus_encode(&mut bytes);
    bytes.extend(0u32.to_le_bytes());
    bytes.to_lower_hex_string()
}
