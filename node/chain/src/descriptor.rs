//! The wallet as an output descriptor, for provisioning's ceremony and for `scantxoutset` (BIP-380, BIP-386, BIP-387).

use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes};
use bitcoin::hex::DisplayHex as _;
use std::fmt::Display;

/// `tr(INTERNAL,{multi_a(m,..),and_v(v:multi_a(k,..),older(t))})` with its checksum: the chain's deposit address and
/// both ways to spend it.
pub fn descriptor(chain: &Chain) -> String {
    let wallet = chain.wallet();
    let bitcoin = &chain.spec().bitcoin;
    let members = join(wallet.keys());
    let hex = |key: &SchnorrPublicKeyBytes| key.as_bytes().to_lower_hex_string();
    let recovery = join(bitcoin.recovery_keys.iter().map(hex));
    let body = format!(
        "tr({},{{multi_a({},{members}),and_v(v:multi_a({},{recovery}),older({}))}})",
        wallet.internal_key(),
        wallet.threshold(),
        bitcoin.recovery_threshold,
        wallet.timelock_blocks(),
    );
    match checksum(&body) {
        Some(checksum) => format!("{body}#{checksum}"),
        // All its characters are in the charset.
        None => body,
    }
}

fn join(keys: impl IntoIterator<Item = impl Display>) -> String {
    let keys: Vec<String> = keys.into_iter().map(|key| key.to_string()).collect();
    keys.join(",")
}

const INPUT_CHARSET: &str = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ ";
const CHECKSUM_CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u64; 5] = [
    0xf5_dee5_1989,
    0xa9_fdca_3312,
    0x1b_ab10_e32d,
    0x37_06b1_677a,
    0x64_4d62_6ffd,
];

/// A descriptor's checksum of 8 characters (BIP-380); `None` for a character that no descriptor has.
pub fn checksum(descriptor: &str) -> Option<String> {
    let mut state = 1u64;
    let mut group = 0u64;
    let mut grouped = 0u8;
    for character in descriptor.chars() {
        let place = INPUT_CHARSET.find(character)? as u64;
        state = polymod(state, place & 31);
        group = group.wrapping_mul(3).wrapping_add(place >> 5);
        grouped = grouped.wrapping_add(1);
        if grouped == 3 {
            state = polymod(state, group);
            (group, grouped) = (0, 0);
        }
    }
    if grouped > 0 {
        state = polymod(state, group);
    }
    for _zero in 0..8 {
        state = polymod(state, 0);
    }
    state ^= 1;
    (0..8u32)
        .rev()
        .map(|place| {
            let symbol = (state >> place.wrapping_mul(5)) & 31;
            let symbol = CHECKSUM_CHARSET.get(usize::try_from(symbol).ok()?)?;
            Some(char::from(*symbol))
        })
        .collect()
}

fn polymod(state: u64, value: u64) -> u64 {
    let top = state >> 35;
    GENERATOR.iter().zip(0u32..).fold(
        ((state & 0x7_ffff_ffff) << 5) ^ value,
        |state, (generator, bit)| {
            if (top >> bit) & 1 == 1 {
                state ^ generator
            } else {
                state
            }
        },
    )
}
