//! Brings the state up to the head after a restart.
//!
//! The database keeps the state of one block, about 128 below the head; what the later ones changed is in memory
//! only. So the blocks after the last one whose state is there are executed again, from the database.

use super::EmbeddedError;
use alys_protocol::units::SideHeight;
use ethrex_blockchain::Blockchain;
use ethrex_storage::error::StoreError;
use ethrex_storage::{DB_COMMIT_THRESHOLD, Store};
use std::path::Path;
use std::sync::Arc;

/// Executes what has to be executed again; returns how many blocks that were.
pub(super) async fn recover(
    store: &Store,
    blockchain: &Arc<Blockchain>,
    path: &Path,
) -> Result<u64, EmbeddedError> {
    let head = store.get_latest_block_number().await?;
    let mut height = head;
    loop {
        let header = store
            .get_block_header(height)?
            .ok_or(StoreError::MissingLatestBlockNumber)?;
        if store.has_state_root(header.state_root)? {
            break;
        }
        height = height
            .checked_sub(1)
            .ok_or_else(|| EmbeddedError::NoState {
                path: path.to_owned(),
                head: SideHeight::new(head),
            })?;
    }
    let behind = head.saturating_sub(height);
    if behind > 0 {
        tracing::info!(
            from = height,
            to = head,
            "execution state is brought up to the head"
        );
    }
    while height < head {
        height = height.saturating_add(1);
        let wrong = |reason: String| EmbeddedError::Replay {
            height: SideHeight::new(height),
            reason,
        };
        let block = store
            .get_block_by_number(height)
            .await?
            .ok_or_else(|| wrong("it is not in the database".to_owned()))?;
        let blockchain = Arc::clone(blockchain);
        let executed = tokio::task::spawn_blocking(move || {
            blockchain.add_block_pipeline_bounded(block, None, DB_COMMIT_THRESHOLD)
        });
        executed
            .await
            .map_err(|error| wrong(error.to_string()))?
            .map_err(|error| wrong(error.to_string()))?;
    }
    Ok(behind)
}
