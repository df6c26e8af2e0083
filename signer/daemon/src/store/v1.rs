//! States as format `alys-signer-state/1` has them, and what they become. Frozen: these structures never change.

use super::{STATE, StoreError, disk, write};
use alys_protocol::bytes::{BatchId, BlockId, Digest};
use alys_protocol::units::{BurnSequence, Sats, SideHeight, Slot};
use alys_signer_core::clock::WindowTime;
use alys_signer_core::state::{self, BurnRange, FamilyMember, Proposed, Vote};
use redb::{ReadableTable as _, WriteTransaction};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The format's name in the file.
pub(super) const FORMAT: &[u8] = b"alys-signer-state/1";
/// First byte of its entries.
const VERSION: u8 = 1;

#[derive(Deserialize)]
struct VoteState {
    last_slot: Slot,
    lock: SideHeight,
    voted: Option<VoteV1>,
    proposed: Option<ProposedV1>,
}

#[derive(Deserialize)]
struct VoteV1 {
    block: BlockId,
    final_height: SideHeight,
}

#[derive(Deserialize)]
struct ProposedV1 {
    slot: Slot,
    block: BlockId,
}

#[derive(Deserialize)]
struct PegOutState {
    next_burn: BurnSequence,
    gaps: Vec<BurnRangeV1>,
    families: Vec<FamilyV1>,
}

#[derive(Deserialize)]
struct BurnRangeV1 {
    first: BurnSequence,
    next: BurnSequence,
}

#[derive(Deserialize)]
struct FamilyV1 {
    burns: BurnRangeV1,
    inputs: Vec<bitcoin::OutPoint>,
    members: Vec<FamilyMemberV1>,
}

#[derive(Deserialize)]
struct FamilyMemberV1 {
    batch: BatchId,
    request: Digest,
    fee: Sats,
    randomness: [u8; 32],
}

/// Rewrites the entries of this format. It knew no windows: they start full, and what families took is charged again
/// where they are replaced.
pub(super) fn migrate(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let vote: VoteState = read(transaction, "vote")?;
    let pegout: PegOutState = read(transaction, "pegout")?;
    let mut votes = state::VoteState {
        last_slot: vote.last_slot,
        lock: vote.lock,
        voted: vote.voted.map(|vote| Vote {
            block: vote.block,
            final_height: vote.final_height,
        }),
        proposed: vote.proposed.map(|proposed| Proposed {
            slot: proposed.slot,
            block: proposed.block,
        }),
        ..state::VoteState::default()
    };
    votes.fill_windows(WindowTime::ZERO);
    let mut pegouts = state::PegOutState {
        next_burn: pegout.next_burn,
        gaps: pegout.gaps.into_iter().map(range).collect(),
        families: pegout.families.into_iter().map(family).collect(),
        ..state::PegOutState::default()
    };
    pegouts.fill_windows(WindowTime::ZERO);
    write(transaction, &votes)?;
    write(transaction, &pegouts)?;
    write(transaction, &state::AdminState::default())?;
    write(transaction, &alys_signer_core::clock::ClockState::default())
}

fn range(range: BurnRangeV1) -> BurnRange {
    BurnRange {
        first: range.first,
        next: range.next,
    }
}

fn family(family: FamilyV1) -> state::Family {
    let member = |member: FamilyMemberV1| FamilyMember {
        batch: member.batch,
        request: member.request,
        fee: member.fee,
        randomness: member.randomness,
    };
    state::Family {
        burns: range(family.burns),
        inputs: family.inputs,
        charged: Sats::ZERO,
        members: family.members.into_iter().map(member).collect(),
    }
}

fn read<S: DeserializeOwned>(
    transaction: &WriteTransaction,
    entry: &'static str,
) -> Result<S, StoreError> {
    let table = transaction.open_table(STATE).map_err(disk)?;
    let bytes = table.get(entry).map_err(disk)?;
    super::decode_as(VERSION, entry, bytes.as_ref().map(|bytes| bytes.value()))
}

#[cfg(test)]
mod tests {
    use super::super::{BLS_KEY, FORMAT_KEY, META, Store, begin};
    use super::*;
    use alys_protocol::bls::SecretKey;
    use alys_protocol::bytes::SpecDigest;
    use redb::Database;

    /// What release 0.1 wrote: a vote in slot 7 for a block of 17s, a proposal in slot 6, lock 3; burns 0 to 4 signed but
    /// for 2, in one family of one input and one member with fee 300.
    fn entries() -> [(&'static str, Vec<u8>); 2] {
        let hex = |bytes: [u8; 32]| hex::DisplayHex::to_lower_hex_string(&bytes);
        let vote = format!("01 07 03 01 {} 02 01 06 {}", hex([17; 32]), hex([18; 32]));
        let pegout = format!(
            "01 05 01 02 03 01 00 02 01 20 {} 00 01 {} {} ac02 {}",
            hex([1; 32]),
            hex([21; 32]),
            hex([22; 32]),
            hex([23; 32]),
        );
        [("vote", vote), ("pegout", pegout)].map(|(key, text)| {
            let text: String = text.split_whitespace().collect();
            (key, <Vec<u8> as hex::FromHex>::from_hex(&text).unwrap())
        })
    }

    #[test]
    fn a_state_of_release_0_1_is_carried_over_and_starts_with_full_windows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        let bls = SecretKey::from_seed(&[1; 32])
            .unwrap()
            .public_key()
            .to_bytes();
        let (spec, officers) = (SpecDigest::new([9; 32]), Digest::new([8; 32]));
        {
            let database = Database::create(&path).unwrap();
            let transaction = begin(&database).unwrap();
            {
                let mut meta = transaction.open_table(META).unwrap();
                meta.insert(FORMAT_KEY, FORMAT).unwrap();
                meta.insert(BLS_KEY, bls.as_bytes().as_slice()).unwrap();
                let mut states = transaction.open_table(STATE).unwrap();
                for (key, bytes) in entries() {
                    states.insert(key, bytes.as_slice()).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        for _start in 0..2 {
            let store = Store::open(&path, &bls, spec, officers).unwrap();
            let vote: state::VoteState = store.read().unwrap();
            let mut expected = state::VoteState {
                last_slot: Slot::new(7),
                lock: SideHeight::new(3),
                voted: Some(Vote {
                    block: BlockId::new([17; 32]),
                    final_height: SideHeight::new(2),
                }),
                proposed: Some(Proposed {
                    slot: Slot::new(6),
                    block: BlockId::new([18; 32]),
                }),
                ..state::VoteState::default()
            };
            expected.fill_windows(WindowTime::ZERO);
            assert_eq!(vote, expected);
            let pegout: state::PegOutState = store.read().unwrap();
            assert_eq!(pegout.next_burn, BurnSequence::new(5));
            assert_eq!(pegout.gaps[0].next, BurnSequence::new(3));
            assert_eq!(pegout.families[0].members[0].fee, Sats::new(300));
            assert_eq!(pegout.families[0].members[0].randomness, [23; 32]);
            assert_eq!(pegout.families[0].charged, Sats::ZERO);
            let mut full = state::PegOutState::default();
            full.fill_windows(WindowTime::ZERO);
            assert_eq!(pegout.value_window, full.value_window);
            let admin: state::AdminState = store.read().unwrap();
            assert_eq!(admin, state::AdminState::default());
        }
    }

    #[test]
    fn an_unknown_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        let bls = SecretKey::from_seed(&[1; 32])
            .unwrap()
            .public_key()
            .to_bytes();
        Store::create(&path, &bls).unwrap();
        {
            let database = Database::open(&path).unwrap();
            let transaction = begin(&database).unwrap();
            {
                let mut meta = transaction.open_table(META).unwrap();
                let newer: &[u8] = b"alys-signer-state/5";
                meta.insert(FORMAT_KEY, newer).unwrap();
            }
            transaction.commit().unwrap();
        }
        let (spec, officers) = (SpecDigest::new([9; 32]), Digest::new([8; 32]));
        let error = Store::open(&path, &bls, spec, officers)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("expected format alys-signer-state/4, found alys-signer-state/5"),
            "{error}"
        );
    }
}
