//! The admin state as formats up to `alys-signer-state/3` have it, and what it becomes. Frozen: it never changes.

use super::{STATE, StoreError, Stored as _, decode_as, disk, write};
use alys_protocol::bytes::Digest;
use alys_signer_core::policy::Iteration;
use alys_signer_core::state::{self, AcceptedPolicy};
use redb::{ReadableTable as _, WriteTransaction};
use serde::Deserialize;

/// First byte of its entry.
const VERSION: u8 = 2;

#[derive(Deserialize)]
struct AdminState {
    policy: Option<AcceptedPolicyV2>,
}

#[derive(Deserialize)]
struct AcceptedPolicyV2 {
    iteration: Iteration,
    digest: Digest,
}

/// Rewrites the entry: no statement was accepted yet.
pub(super) fn migrate(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let old: AdminState = {
        let table = transaction.open_table(STATE).map_err(disk)?;
        let entry = table.get(state::AdminState::KEY).map_err(disk)?;
        let bytes = entry.as_ref().map(|entry| entry.value());
        decode_as(VERSION, state::AdminState::KEY, bytes)?
    };
    let policy = old.policy.map(|policy| AcceptedPolicy {
        iteration: policy.iteration,
        digest: policy.digest,
    });
    write(
        transaction,
        &state::AdminState {
            policy,
            ..state::AdminState::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::{FORMAT_3, FORMAT_KEY, META, Store, begin};
    use super::*;
    use alys_protocol::bls::BlsPublicKeyBytes;
    use alys_protocol::bytes::SpecDigest;
    use alys_protocol::units::StatementNumber;

    #[test]
    fn the_accepted_policy_survives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let bls = BlsPublicKeyBytes::new([1; 48]);
        Store::create(&path, &bls).unwrap();
        let open = || Store::open(&path, &bls, SpecDigest::new([2; 32]), Digest::new([3; 32]));
        let store = open().unwrap();
        let transaction = begin(&store.database).unwrap();
        {
            let mut meta = transaction.open_table(META).unwrap();
            meta.insert(FORMAT_KEY, FORMAT_3).unwrap();
            let mut table = transaction.open_table(STATE).unwrap();
            // Version, some policy, iteration 5, digest.
            let old = [&[2, 1, 5][..], &[6; 32]].concat();
            table.insert("admin", old.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        drop(store);
        for _start in 0..2 {
            let admin: state::AdminState = open().unwrap().read().unwrap();
            let expected = state::AdminState {
                policy: Some(AcceptedPolicy {
                    iteration: Iteration::new(5),
                    digest: Digest::new([6; 32]),
                }),
                statement: StatementNumber::ZERO,
                skips: Vec::new(),
            };
            assert_eq!(admin, expected);
        }
    }
}
