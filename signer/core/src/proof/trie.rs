//! Merkle-Patricia proofs (yellow paper, appendix D), for keys of which none is a prefix of another.
//!
//! Written here because a signer needs the value out of the proof, and needs it strictly: `alloy-trie`'s verifier only
//! compares a value that is known before, lets bytes follow a node, and goes on along a path that has left the key.
//! Tests compare the two on honest proofs.

use super::rlp::{Item, Items};
use alloy_primitives::{B256, keccak256};
use alloy_rlp::EMPTY_STRING_CODE;
use alloy_trie::EMPTY_ROOT_HASH;
use thiserror::Error;

/// A proof that shows neither a value nor its absence. `node` counts the proof's nodes from 0; a node that lies within
/// another one counts as that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrieError {
    /// The proof ends too early.
    #[error("expected node {node} with hash {hash}, found the proof's end")]
    Missing {
        /// Place of the node.
        node: usize,
        /// Its hash.
        hash: B256,
    },
    /// A node is not the one that the node before names.
    #[error("expected node {node} with hash {expected}, found one with hash {found}")]
    Hash {
        /// Place of the node.
        node: usize,
        /// The hash that the root or the parent names.
        expected: B256,
        /// Hash of the node.
        found: B256,
    },
    /// A node is no canonical RLP.
    #[error("node {node} is not canonical RLP: {error}")]
    Rlp {
        /// Place of the node.
        node: usize,
        /// What is wrong.
        error: alloy_rlp::Error,
    },
    /// A node is canonical RLP, but not what a trie has there.
    #[error("node {node}: expected {expected}")]
    Shape {
        /// Place of the node.
        node: usize,
        /// What a trie has.
        expected: &'static str,
    },
    /// The path goes on where the key ends.
    #[error("node {node}: expected a path of at most {nibbles} nibbles, found a longer one")]
    Deep {
        /// Place of the node.
        node: usize,
        /// Nibbles of the key.
        nibbles: usize,
    },
    /// The proof goes on where the path ends.
    #[error("expected a proof of {used} nodes, found more")]
    Trailing {
        /// Nodes on the path.
        used: usize,
    },
}

/// What a node names as the next one.
#[derive(Debug, Clone, Copy)]
enum Child<'a> {
    None,
    Hash(B256),
    /// Its bytes, fewer than 32, in place of their hash.
    Within(&'a [u8]),
}

#[derive(Debug)]
enum Node<'a> {
    Empty,
    /// Its items, all well-formed.
    Branch(Items<'a>),
    Extension(Compact<'a>, Child<'a>),
    Leaf(Compact<'a>, &'a [u8]),
}

/// The value under `key` in the trie with `root`, or `None` where the proof shows that there is none.
///
/// `nodes` are those on the key's path, root first, and no others; nodes shorter than 32 bytes lie within their
/// parents. An empty trie is proven by no node or by the empty one.
///
/// # Errors
/// - one [`TrieError`] for each thing that can be wrong with a proof.
pub fn lookup<'a>(
    root: B256,
    key: &[u8],
    nodes: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<&'a [u8]>, TrieError> {
    let mut path = key.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    let nibbles = key.len().saturating_mul(2);
    let mut nodes = nodes.into_iter();
    let mut used = 0usize;
    let mut child = Child::Hash(root);
    let mut below_extension = false;
    let found = loop {
        let (node, encoded) = match child {
            Child::None => break None,
            Child::Within(encoded) => (used.saturating_sub(1), encoded),
            Child::Hash(hash) => {
                let node = used;
                let Some(encoded) = nodes.next() else {
                    if node == 0 && root == EMPTY_ROOT_HASH {
                        break None;
                    }
                    return Err(TrieError::Missing { node, hash });
                };
                linked(node, hash, encoded)?;
                used = used.saturating_add(1);
                (node, encoded)
            }
        };
        let deep = TrieError::Deep { node, nibbles };
        let decoded = Node::decode(node, encoded)?;
        if below_extension && !matches!(decoded, Node::Branch(_)) {
            let expected = "a branch below an extension";
            return Err(TrieError::Shape { node, expected });
        }
        below_extension = false;
        match decoded {
            Node::Empty => break None,
            Node::Branch(children) => {
                let nibble = path.next().ok_or(deep)?;
                child = nth_child(node, children, nibble)?;
            }
            Node::Extension(shared, next) => {
                let mut stays = true;
                for nibble in shared.nibbles() {
                    if path.next().ok_or(deep.clone())? != nibble {
                        stays = false;
                        break;
                    }
                }
                child = if stays { next } else { Child::None };
                below_extension = stays;
            }
            Node::Leaf(rest, value) => break rest.nibbles().eq(path).then_some(value),
        }
    };
    match nodes.next() {
        None => Ok(found),
        Some(_) => Err(TrieError::Trailing { used }),
    }
}

/// The node has the hash, and is not one that lies within its parent.
fn linked(node: usize, expected: B256, encoded: &[u8]) -> Result<(), TrieError> {
    let found = keccak256(encoded);
    if found != expected {
        return Err(TrieError::Hash {
            node,
            expected,
            found,
        });
    }
    if node > 0 && encoded.len() < 32 {
        return Err(TrieError::Shape {
            node,
            expected: "a node of 32 bytes or more where one is named by its hash",
        });
    }
    Ok(())
}

impl<'a> Node<'a> {
    fn decode(node: usize, encoded: &'a [u8]) -> Result<Self, TrieError> {
        if encoded == [EMPTY_STRING_CODE] {
            return Ok(Self::Empty);
        }
        let rlp = |error| TrieError::Rlp { node, error };
        let shape = |expected| TrieError::Shape { node, expected };
        let items = Items::of_list(encoded).map_err(rlp)?;
        let mut rest = items;
        let first = rest.next().map_err(rlp)?;
        let second = rest.next().map_err(rlp)?;
        if !rest.is_empty() {
            return Self::branch(node, items);
        }
        if first.list {
            return Err(shape("a path"));
        }
        let path = Compact::decode(first.payload).ok_or(shape("a path in hex-prefix encoding"))?;
        if path.leaf {
            if second.list || second.payload.is_empty() {
                return Err(shape("a leaf with a value"));
            }
            return Ok(Self::Leaf(path, second.payload));
        }
        if path.nibbles().next().is_none() {
            return Err(shape("an extension of one nibble or more"));
        }
        match Child::decode(node, second)? {
            Child::None => Err(shape("an extension with a child")),
            child @ (Child::Hash(_) | Child::Within(_)) => Ok(Self::Extension(path, child)),
        }
    }

    fn branch(node: usize, items: Items<'a>) -> Result<Self, TrieError> {
        let rlp = |error| TrieError::Rlp { node, error };
        let shape = |expected| TrieError::Shape { node, expected };
        let mut rest = items;
        let mut named = 0usize;
        for _nibble in 0..16 {
            let child = Child::decode(node, rest.next().map_err(rlp)?)?;
            named = named.saturating_add(usize::from(!matches!(child, Child::None)));
        }
        let value = rest.string().map_err(rlp)?;
        rest.finish().map_err(rlp)?;
        if !value.is_empty() {
            return Err(shape(
                "a branch without a value: no key is a prefix of another",
            ));
        }
        if named < 2 {
            return Err(shape("a branch with two children or more"));
        }
        Ok(Self::Branch(items))
    }
}

fn nth_child(node: usize, mut items: Items<'_>, nibble: u8) -> Result<Child<'_>, TrieError> {
    let rlp = |error| TrieError::Rlp { node, error };
    for _before in 0..nibble {
        items.next().map_err(rlp)?;
    }
    Child::decode(node, items.next().map_err(rlp)?)
}

impl<'a> Child<'a> {
    fn decode(node: usize, item: Item<'a>) -> Result<Self, TrieError> {
        let expected = "children that are empty, a hash, or a node of fewer than 32 bytes";
        let shape = TrieError::Shape { node, expected };
        if item.list {
            return if item.encoded.len() < 32 {
                Ok(Self::Within(item.encoded))
            } else {
                Err(shape)
            };
        }
        if item.payload.is_empty() {
            return Ok(Self::None);
        }
        B256::try_from(item.payload)
            .map(Self::Hash)
            .map_err(|_| shape)
    }
}

/// A path in hex-prefix encoding (yellow paper, appendix C).
#[derive(Debug, Clone, Copy)]
struct Compact<'a> {
    leaf: bool,
    /// The first nibble, where their number is odd.
    odd: Option<u8>,
    pairs: &'a [u8],
}

impl<'a> Compact<'a> {
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (first, pairs) = bytes.split_first()?;
        let low = first & 0x0f;
        let (leaf, odd) = match first >> 4 {
            0 if low == 0 => (false, None),
            1 => (false, Some(low)),
            2 if low == 0 => (true, None),
            3 => (true, Some(low)),
            _other => return None,
        };
        Some(Self { leaf, odd, pairs })
    }

    fn nibbles(&self) -> impl Iterator<Item = u8> + use<'a> {
        let pairs = self.pairs.iter();
        self.odd
            .into_iter()
            .chain(pairs.flat_map(|pair| [pair >> 4, pair & 0x0f]))
    }
}
