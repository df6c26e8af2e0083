//! Aura slots, Streamlet votes, certificates and finality, sans-IO
