//! Block rules, peg ledger, burn queue and batch builder, sans-IO
