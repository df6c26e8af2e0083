//! A statement in plain language.

use super::{Act, Statement};
use alloc::format;
use alloc::string::String;

/// Says in plain language what a statement does.
pub fn explain(statement: &Statement) -> String {
    let Statement {
        chain_id,
        member,
        number,
        act,
    } = statement;
    let to = format!("Statement {number} to the signer of member {member} of chain {chain_id}:");
    match act {
        Act::Pause => format!(
            "{to}\nPAUSE. It signs no peg-out until a quorum of officers resumes. Votes go on.\n\
             One officer's signature is enough."
        ),
        Act::Resume => {
            format!("{to}\nRESUME. It signs peg-outs again. A quorum of officers must sign.")
        }
        Act::Skip(skipped) => format!(
            "{to}\nSKIP BURN {burn}. Batches may leave it unpaid, and will where signers of enough members are told so. It is\n\
             never paid then: what was burned stays locked in the wallet. Burn {burn} must be in a final block, and be the\n\
             one that is meant. A quorum of officers must sign.",
            burn = skipped.burn,
        ),
        Act::Anchor(checkpoint) => format!(
            "{to}\nBITCOIN STARTS ANEW at block {hash} of height {height}.\n\
             The signer forgets the headers it has, and takes those that nodes feed it only where they lead to that block\n\
             and on from it, with no reorganisation below it. Until then it signs no block that mints or moves on in\n\
             Bitcoin; peg-outs go on. Whoever signs has seen that block at that height in Bitcoin nodes of several people, and\n\
             knows why the signer cannot go on from what it has. A quorum of officers must sign.",
            hash = checkpoint.hash,
            height = checkpoint.height,
        ),
        Act::Fresh(vouched) => format!(
            "{to}\nTHE STATE IS FRESH. It signs again although no outside counter shows that its state is the newest:\n\
             - no vote and no proposal up to slot {floor};\n\
             - no vote for a block on top of one below height {lock}, which must be the height of the newest\n  \
               certificates that a quorum of live signers has seen;\n\
             - no payment of any burn below {next_burn}, which must be one past the highest in any signed batch;\n\
             - no peg-out and no mint until a whole window has passed.\n\
             None of these marks can be lowered again. A quorum of officers must sign. Whoever signs has made sure that\n\
             no other copy of this signer runs; if it was paused after the copy was made, pause it again.",
            floor = vouched.slot_floor,
            lock = vouched.lock,
            next_burn = vouched.next_burn,
        ),
    }
}
