//! Merged mining: block templates, shares and the miner
