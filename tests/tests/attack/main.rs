//! The attack suite: an attacker who owns every node of a federation, three of its four members' keys, its certificates,
//! and Bitcoin as far as the signer sees it, against real signer processes over real mutual TLS.
//!
//! Each attack asserts the rule that refuses it, that the same process serves an honest request afterwards, and that the
//! signer's audit log verifies, has every refusal, and comes out the same when the core is asked again (claim C8). The
//! suite ends with its count of attacks: `make attack`. To add one, write a function that panics where the attack is successful, and
//! name it below; an id of a regression in its name says which defect it tries.
//!
//! | module | attacks |
//! |---|---|
//! | `voting`, `evidence` | C1: equivocation in every order; forged headers, certificates, missing work |
//! | `minting`, `spv`, `work`, `fees` | C2: withdrawals, deposits, their Merkle proofs, merged mining, fees |
//! | `finality`, `burns`, `payments`, `families` | C3: what was not decided, not burned, not paid, or paid twice |
//! | `limits` | C4: windows, caps, holds, destinations, fees |
//! | `headers` | C2, C4: Bitcoin forged, withheld, released in steps, forked |
//! | `restore` | C5: snapshots, copies, counters, restarts |
//! | `officers` | C4, C5: statements of officers, forged and used again |
//! | `wire` | roles, certificates, frames, floods |
#![allow(
    clippy::disallowed_methods,
    reason = "files that a test makes need not survive a power loss"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod auxpow;
#[path = "../../../signer/core/tests/bitcoin_kit/mod.rs"]
mod bitcoin_kit;
mod burns;
mod deposits;
mod evidence;
mod families;
mod federation;
mod fees;
mod finality;
mod harness;
mod headers;
mod limits;
mod minting;
mod officers;
mod payments;
mod process;
mod restore;
mod spv;
#[path = "../../../signer/daemon/tests/support/mod.rs"]
mod support;
mod voting;
mod wire;
mod work;

use std::process::ExitCode;

macro_rules! attacks {
    ($($module:ident { $($name:ident),* $(,)? })*) => {
        &[$($(harness::Attack {
            name: concat!(stringify!($module), "::", stringify!($name)),
            run: $module::$name,
        }),*),*]
    };
}

/// Every attack. One that is not named here is dead code, which the build refuses.
const ATTACKS: &[harness::Attack] = attacks! {
    voting {
        a10_two_blocks_in_one_slot,
        a10_conflicting_requests_at_once,
        a10_lower_slots_and_lower_parents,
        every_order_of_two_chains,
        a10_two_proposals_in_one_slot,
        slots_far_in_the_future,
    }
    evidence {
        evidence_of_votes_forged_truncated_and_swapped,
        counters_and_execution_that_do_not_follow,
        certificates_forged_truncated_swapped_and_replayed,
        blocks_without_work_beyond_the_distance,
        blocks_without_work_and_without_ancestors,
    }
    minting {
        a1_withdrawals_extra_missing_duplicated_and_reordered,
        a1_withdrawals_from_nowhere,
        a2_deposits_minted_twice,
        deposits_that_are_not_buried,
        deposits_below_the_policys_depth,
        deposits_to_other_scripts_and_of_other_forms,
        mints_drained_in_small_steps,
    }
    spv {
        deposit_proofs_forged_truncated_swapped_and_replayed,
        n7_a_transaction_of_64_bytes_as_an_inner_node,
        n7_a_deposit_below_a_transaction_of_64_bytes,
        n7_an_inner_node_as_a_transaction,
        n7_a_repeated_node_as_a_second_place,
        n7_blocks_whose_first_transaction_is_no_coinbase,
    }
    work {
        a5_auxpow_forged,
        an_eased_target,
        bundles_forged_swapped_and_replayed,
        work_of_another_chain,
    }
    fees {
        fees_forged_and_misdirected,
        fees_paid_twice,
    }
    burns {
        burn_evidence_forged_truncated_swapped_and_replayed,
        a3_a4_burn_logs_forged,
        a5_work_over_burns_forged,
        work_below_the_policys_floor,
    }
    finality {
        a11_batches_that_are_not_recorded_or_not_final,
        finality_by_blocks_that_do_not_follow,
        finality_by_genesis,
        work_over_burns_forged_and_swapped,
    }
    payments {
        outputs_siphoned_redirected_skipped_and_reordered,
        n10_shapes_and_hash_types,
        inputs_duplicated_and_misvalued,
        batches_without_burns_that_pay_somebody,
    }
    families {
        burns_paid_twice,
        n8_replacements_with_other_inputs_and_lower_fees,
    }
    limits {
        n3_the_value_window_drained_under_headers_released_in_steps,
        the_count_window_drained_in_small_steps,
        payments_above_the_caps,
        fees_above_the_limits,
        payments_before_their_hold_is_over,
        payments_to_denied_destinations,
    }
    headers {
        a_chain_that_does_not_lead_to_the_checkpoint,
        headers_forged,
        private_forks_too_deep_or_too_light,
        private_forks_below_the_checkpoint,
        headers_easier_than_the_policys_floor,
        a_cheap_private_fork_with_a_deposit,
        a12_deposits_minted_again_after_a_reorganisation,
        headers_withheld_and_released_in_steps,
    }
    restore {
        n1_an_old_snapshot_is_put_back,
        n1_a_snapshot_of_a_signer_that_was_killed,
        n1_the_counter_is_removed_or_set_back,
        n2_two_instances,
        n2_a_signer_killed_after_each_signature,
        restarts_open_no_window,
    }
    officers {
        n1_statements_of_those_who_may_not,
        paused_peg_outs,
        n1_a_copy_that_officers_vouched_for,
        burns_skipped_without_officers,
        a_deep_reorganisation_and_the_block_that_officers_name,
    }
    wire {
        n1_roles_for_operations_of_others,
        n1_certificates_that_are_wrong_for_every_operation,
        a7_frames_oversized_and_malformed,
        connections_that_say_nothing,
        a_flood_of_refusable_requests,
    }
};

fn main() -> ExitCode {
    harness::run(ATTACKS)
}
