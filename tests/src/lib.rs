//! Cluster harness, devnet and end-to-end suite: whole federations of real processes on one machine.
//!
//! | module | is |
//! |---|---|
//! | [`bitcoin_node`] | bitcoind on regtest |
//! | [`process`] | one child process with its log |
//! | [`cluster`] | a federation: bitcoind, signers, nodes, a miner |
//! | [`guide`] | the guides in `docs/guides`, in steps |
//! | [`evm`] | accounts and transactions on the side chain |
//! | [`inspect`] | what the system tells about a process |
//! | [`supply`] | that every satoshi is explained |
//! | [`devnet`] | what `make devnet` does |

pub mod bitcoin_node;
pub mod cluster;
pub mod devnet;
pub mod evm;
pub mod guide;
pub mod inspect;
pub mod process;
pub mod supply;
pub mod wait;
