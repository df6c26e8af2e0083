//! Serial framing of the signer device, host-tested
