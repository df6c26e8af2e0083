//! The untrusted node: consensus, peg coordination and execution
