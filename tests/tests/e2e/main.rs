//! The end-to-end suite: whole federations of real processes and a real bitcoind.
//!
//! A federation waits most of the time, so that several scenarios run side by side; nothing here depends on how fast they
//! run. Each scenario ends with [`bench::Bench::finish`], which checks on every node that runs that each satoshi is
//! explained.
//!
//! | module | shows |
//! |---|---|
//! | `absence` | a node that missed 300 blocks catches up, and a fresh one syncs from genesis |
//! | `ceremony` | members rehearse a ceremony |
//! | `certificates` | every certificate is replaced under load, without a missed slot |
//! | `guides` | the guides of security team, operator and auditor, walked from their own text |
//! | `kills` | `kill -9` of each process at each stage of a peg |
//! | `officers` | officers pause and resume peg-outs, and skip a burn |
//! | `outsiders` | strangers and a member that does not sign stall no peg-out |
//! | `peg` | coins go in and out, and what credits nobody is listed |
//! | `production` | blocks, halts and their ends |
//! | `recovery` | a backup is proven by a drill, and a lost member comes back from it |
//! | `reorganisation` | Bitcoin changes its mind, a little and too much |
//! | `secrets` | signing keys are in no file, argument, environment and no memory but their signer's |
//! | `surface` | what others on the machine can see and reach |
//! | `tokens` | a member's token goes away and comes back |
//! | `wrong_files` | wrong certificates and chain specs |
#![allow(
    clippy::disallowed_methods,
    reason = "files that a test makes need not survive a power loss"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod absence;
mod bench;
mod ceremony;
mod certificates;
mod guides;
mod kills;
mod officers;
mod outsiders;
mod peg;
mod production;
mod recovery;
mod reorganisation;
mod secrets;
mod surface;
mod tokens;
mod wrong_files;
