//! Deposits on Bitcoin and transactions on the side chain.

use super::{Cluster, MINER, NodeClient};
use crate::evm::{Call, TestAccount};
use alys_execution::receipt::Receipt;
use alys_protocol::bytes::{Digest, EvmAddress};
use alys_protocol::spec::Chain;
use alys_protocol::units::Sats;
use anyhow::{Context as _, bail};
use bitcoin::script::PushBytesBuf;
use bitcoin::{Address, Amount, Network, ScriptBuf, Transaction, TxOut};
use std::time::Duration;

/// Within this a transaction is in a certified block, or something is wrong.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(90);

impl Cluster {
    /// The federation's address.
    ///
    /// # Errors
    /// - never on a chain that was checked.
    pub fn federation(&self) -> anyhow::Result<Address> {
        Ok(self.chain.wallet().address(Network::Regtest)?)
    }

    /// Pays a deposit with its OP_RETURN data into Bitcoin's mempool.
    ///
    /// # Errors
    /// - where the Bitcoin node refuses.
    pub async fn deposit(
        &self,
        amount: Sats,
        data: impl AsRef<[u8]>,
    ) -> anyhow::Result<Transaction> {
        self.pay_federation(&[amount], &[data.as_ref()]).await
    }

    /// Pays the federation in one transaction with so many outputs, and with OP_RETURN outputs of these data.
    ///
    /// # Errors
    /// - where the Bitcoin node refuses.
    pub async fn pay_federation(
        &self,
        amounts: &[Sats],
        data: &[&[u8]],
    ) -> anyhow::Result<Transaction> {
        let outputs = self.federation_outputs(amounts, data)?;
        Ok(self.wallet().await?.send_outputs(&outputs).await?)
    }

    /// Like [`Self::pay_federation`], without handing it to anybody.
    ///
    /// # Errors
    /// - where the Bitcoin node refuses.
    pub async fn sign_for_federation(
        &self,
        amounts: &[Sats],
        data: &[&[u8]],
    ) -> anyhow::Result<Transaction> {
        let outputs = self.federation_outputs(amounts, data)?;
        Ok(self.wallet().await?.sign_outputs(&outputs).await?)
    }

    fn federation_outputs(&self, amounts: &[Sats], data: &[&[u8]]) -> anyhow::Result<Vec<TxOut>> {
        let script = self.federation()?.script_pubkey();
        let payments = amounts.iter().map(|amount| TxOut {
            value: Amount::from_sat(amount.get()),
            script_pubkey: script.clone(),
        });
        let mut outputs: Vec<TxOut> = payments.collect();
        for data in data {
            let data = PushBytesBuf::try_from(data.to_vec())?;
            outputs.push(TxOut {
                value: Amount::ZERO,
                script_pubkey: ScriptBuf::new_op_return(data),
            });
        }
        Ok(outputs)
    }

    /// Signs transactions with successive nonces, hands them to all running nodes, and waits for their receipts.
    /// What a node loses is handed in again.
    ///
    /// # Errors
    /// - where one is not in a certified block in time, or fails.
    pub async fn transact(
        &mut self,
        account: &TestAccount,
        calls: &[Call],
    ) -> anyhow::Result<Vec<Receipt>> {
        let clients = self.running_nodes()?;
        let first = clients.first().context("no node runs")?.clone();
        let nonce = account.nonce(&first.eth).await?;
        let raw: Vec<Vec<u8>> = (nonce..)
            .zip(calls)
            .map(|(nonce, call)| account.sign(nonce, call))
            .collect();
        let mut receipts = Vec::new();
        for transaction in &raw {
            let hash = Digest::new(alloy_primitives::keccak256(transaction).0);
            let mut refusal = None;
            let mut looks = 0u32;
            let receipt = self
                .wait("the transaction's receipt", TRANSACTION_LIMIT, async || {
                    if looks.is_multiple_of(20) {
                        refusal = hand_in(&clients, &raw).await.err();
                    }
                    looks += 1;
                    match first.eth.transaction_receipt(hash).await? {
                        Some(receipt) => Ok(Some(receipt)),
                        None => match refusal.take() {
                            Some(error) => Err(error),
                            None => Ok(None),
                        },
                    }
                })
                .await?;
            if !receipt.succeeded {
                bail!(
                    "transaction {hash} failed in block {}",
                    receipt.block_number.get()
                );
            }
            receipts.push(receipt);
        }
        Ok(receipts)
    }
}

/// The accounts that members and the miner are paid on.
///
/// # Errors
/// - never in practice.
pub fn fee_accounts(chain: &Chain) -> anyhow::Result<Vec<EvmAddress>> {
    let members = chain.spec().members.iter();
    let mut accounts: Vec<_> = members.map(|member| member.fee_recipient).collect();
    accounts.push(TestAccount::new(MINER, chain.id())?.address());
    Ok(accounts)
}

/// Succeeds where at least one node takes the last one or has it already.
async fn hand_in(clients: &[NodeClient], transactions: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut outcome = Err(anyhow::anyhow!("no node runs"));
    for client in clients {
        for transaction in transactions {
            match client.eth.send_raw_transaction(transaction).await {
                Ok(_) => outcome = Ok(()),
                Err(error) if outcome.is_err() => outcome = Err(error.into()),
                Err(_) => {}
            }
        }
    }
    outcome
}
