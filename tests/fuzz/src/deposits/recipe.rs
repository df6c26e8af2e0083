//! What transactions are made of.

use crate::blocks::{output, spend};
use alys_protocol::spec::Chain;
use bitcoin::{Transaction, TxOut};

/// What a byte makes a transaction of.
pub struct Recipe {
    /// Outputs to the federation.
    pub outputs: u8,
    /// Below the minimum, at it, above it, or so much that a sum overflows.
    pub amount: u8,
    /// How the address is written; from 3 on, wrongly or not at all.
    pub form: u8,
}

impl Recipe {
    pub fn of(byte: u8) -> Self {
        Self {
            outputs: byte % 4,
            amount: byte / 4 % 4,
            form: byte / 16 % 8,
        }
    }

    fn sats(&self, minimum: u64) -> u64 {
        [minimum - 1, minimum, minimum + 12_345, u64::MAX / 2][usize::from(self.amount)]
    }

    /// Whether it is a deposit by design 8, of outputs that add up.
    pub fn deposits(&self) -> bool {
        self.outputs > 0
            && self.form < 3
            && match self.amount {
                0 => false,
                3 => self.outputs < 3,
                _middle => true,
            }
    }

    pub fn minted(&self, minimum: u64) -> u64 {
        u64::from(self.outputs) * self.sats(minimum)
    }
}

/// Transactions of a recipe: place 0 is the coinbase.
pub fn recipe_of(recipes: &[u8], place: usize) -> Recipe {
    Recipe::of(recipes[place - 1])
}

fn address(salt: u8) -> [u8; 20] {
    let mut bytes = [0xab; 20];
    bytes[0] = salt;
    bytes
}

pub fn made(chain: &Chain, salt: u8, recipe: u8) -> Transaction {
    let recipe = Recipe::of(recipe);
    let minimum = chain.spec().deposits.min_sats.get();
    let mut outputs: Vec<TxOut> = (0..recipe.outputs)
        .map(|_| made_output(chain, recipe.sats(minimum)))
        .collect();
    let raw = address(salt);
    let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = match recipe.form {
        0 => [&[0x6a, 0x14], &raw[..]].concat(),
        1 => [&[0x6a, 0x28], digits.as_bytes()].concat(),
        2 => [
            &[0x6a, 0x2a],
            b"0x".as_slice(),
            digits.to_uppercase().as_bytes(),
        ]
        .concat(),
        3 => [&[0x6a, 0x13], &raw[..19]].concat(),
        4 => [&[0x6a, 0x14], &raw[..], &[0]].concat(),
        5 => [&[0x6a, 0x28], b"0x".as_slice(), &digits.as_bytes()[2..]].concat(),
        6 => {
            outputs.push(output(&[0x6a], 0));
            [&[0x6a, 0x14], &raw[..]].concat()
        }
        _none => return spend(u32::from(salt), padded(outputs)),
    };
    outputs.push(output(&name, 0));
    spend(u32::from(salt), outputs)
}

/// A transaction has an output.
fn padded(mut outputs: Vec<TxOut>) -> Vec<TxOut> {
    if outputs.is_empty() {
        // Sixty-four bytes in all.
        outputs.push(output(&[0x51; 4], 600));
    }
    outputs
}

pub fn made_output(chain: &Chain, sats: u64) -> TxOut {
    output(chain.wallet().script_pubkey().as_bytes(), sats)
}
