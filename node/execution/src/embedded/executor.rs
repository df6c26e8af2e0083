//! The one thread that executes blocks, in the order they come.
//!
//! ethrex has its own, which also runs waiting transactions ahead of time to warm its caches; four nodes on one
//! machine would compete for the processor with that.

use super::EmbeddedError;
use ethrex_blockchain::Blockchain;
use ethrex_blockchain::error::ChainError;
use ethrex_common::types::Block;
use ethrex_common::types::block_access_list::BlockAccessList;
use ethrex_common::types::block_execution_witness::ExecutionWitness;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// What ethrex's handlers send: where to answer, the block, its access list, whether a witness is wanted.
type Job = (
    oneshot::Sender<Result<Option<ExecutionWitness>, ChainError>>,
    Block,
    Option<BlockAccessList>,
    bool,
);

/// Starts the thread, which ends when the last sender is dropped.
///
/// The channel has no bound because ethrex fixes its type; each caller waits for its own answer, so it holds at most
/// one job per connection of the authenticated port.
pub(super) fn start(
    blockchain: Arc<Blockchain>,
) -> Result<(UnboundedSender<Job>, JoinHandle<()>), EmbeddedError> {
    let (sender, mut jobs) = unbounded_channel::<Job>();
    let thread = std::thread::Builder::new()
        .name("execution".to_owned())
        .spawn(move || {
            while let Some((answer, block, access_list, wants_witness)) = jobs.blocking_recv() {
                let access_list = access_list.map(Arc::new);
                let result = if wants_witness {
                    blockchain
                        .add_block_pipeline_with_witness(block, access_list)
                        .map(Some)
                } else {
                    blockchain
                        .add_block_pipeline(block, access_list)
                        .map(|()| None)
                };
                // Nobody waits any more if the caller hung up.
                let _ = answer.send(result);
            }
        })
        .map_err(|error| EmbeddedError::Part(format!("no thread for execution: {error}")))?;
    Ok((sender, thread))
}
