//! Types, ids, proofs and wire encodings shared by every tier
