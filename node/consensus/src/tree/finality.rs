//! Certificates and verdicts: how the head and the final block advance.

use crate::evidence::Evidence;
use crate::tree::node::{BlockRef, Node, Validity};
use crate::tree::{BlockTree, Changes, KEPT_FINAL, UnknownBlock};
use crate::verified::VerifiedCertificate;
use alys_protocol::bytes::BlockId;
use core::cmp::Reverse;

impl BlockTree {
    /// Attaches a certificate to its block.
    ///
    /// # Errors
    /// - [`UnknownBlock`] where the tree does not hold the block.
    pub fn certify(&mut self, certificate: &VerifiedCertificate) -> Result<Changes, UnknownBlock> {
        let id = certificate.block();
        let known = id == self.root.id;
        let node = self.nodes.get_mut(&id).ok_or(UnknownBlock(id))?;
        let mut changes = Changes::default();
        if known || node.certificate.is_some() {
            return Ok(changes);
        }
        node.certificate = Some(certificate.clone());
        let (block, slot) = (node.block_ref(), node.header.slot);
        let (finalises, validity) = (node.finalises(), node.validity);
        self.uncertified.remove(&(slot, id));
        self.longest = self.longest.max(block.height);
        changes.certified.push(certificate.clone());
        self.compare_with_slot(certificate, &mut changes);
        if block.height == self.proven.height && block != self.proven {
            changes.evidence.push(Evidence::CertifiedAgainstFinal {
                certified: block,
                final_block: self.proven,
            });
        }
        if let Some(proven) = finalises {
            self.prove_final(proven, &mut changes);
        }
        match validity {
            Validity::Unknown => {}
            Validity::Valid => self.settle(id, &mut changes),
            Validity::Invalid => changes.evidence.push(Evidence::CertifiedInvalid(block)),
        }
        Ok(changes)
    }

    /// Two quorums share an honest member, which votes once per slot.
    fn compare_with_slot(&self, certificate: &VerifiedCertificate, changes: &mut Changes) {
        let id = certificate.block();
        let Some(slot) = self.header(id).map(|header| header.slot) else {
            return;
        };
        let others = self.at_slot(slot).iter().filter(|other| **other != id);
        for other in others.filter_map(|other| self.certificate(*other)) {
            changes.evidence.push(Evidence::ConflictingCertificates {
                slot,
                first: other.certificate().clone(),
                second: certificate.certificate().clone(),
            });
        }
    }

    /// Certificates prove a block final, whatever this node thinks of its validity.
    fn prove_final(&mut self, proven: BlockRef, changes: &mut Changes) {
        if proven.height <= self.proven.height {
            if !self.is_ancestor(proven, self.proven.id) {
                changes.evidence.push(Evidence::ConflictingFinality {
                    first: self.proven,
                    second: proven,
                });
            }
            return;
        }
        if !self.is_ancestor(self.proven, proven.id) {
            changes.evidence.push(Evidence::ConflictingFinality {
                first: self.proven,
                second: proven,
            });
            return;
        }
        self.proven = proven;
        let level = self.by_height.get(&proven.height);
        for other in level.into_iter().flatten() {
            if *other != proven.id && self.is_certified(*other) {
                changes.evidence.push(Evidence::CertifiedAgainstFinal {
                    certified: BlockRef {
                        height: proven.height,
                        id: *other,
                    },
                    final_block: proven,
                });
            }
        }
    }

    /// Records that a block is valid. No effect unless its parent is valid and it was not judged before.
    pub fn set_valid(&mut self, id: BlockId) -> Changes {
        let mut changes = Changes::default();
        let parent = self.header(id).map(|header| header.parent);
        if parent.and_then(|parent| self.validity(parent)) != Some(Validity::Valid) {
            return changes;
        }
        if let Some(node) = self.nodes.get_mut(&id)
            && node.validity == Validity::Unknown
        {
            node.validity = Validity::Valid;
            self.settle(id, &mut changes);
        }
        changes
    }

    /// Records that a block is invalid, and with it all above it. No effect if it was judged before.
    pub fn set_invalid(&mut self, id: BlockId) -> Changes {
        let mut changes = Changes::default();
        let mut rest = vec![id];
        while let Some(id) = rest.pop() {
            let Some(node) = self.nodes.get_mut(&id) else {
                continue;
            };
            if node.validity != Validity::Unknown {
                continue;
            }
            node.validity = Validity::Invalid;
            if node.certificate.is_some() {
                changes
                    .evidence
                    .push(Evidence::CertifiedInvalid(node.block_ref()));
            }
            rest.extend(&node.children);
        }
        changes
    }

    /// A block may have become settled, and with it blocks above: the head and the final block follow.
    fn settle(&mut self, id: BlockId, changes: &mut Changes) {
        let (old_head, old_final) = (self.head, self.final_block);
        let mut rest = vec![id];
        while let Some(id) = rest.pop() {
            let Some(node) = self.nodes.get(&id) else {
                continue;
            };
            let ready = node.certificate.is_some() && node.validity == Validity::Valid;
            if node.settled || !ready || !self.is_settled(node.header.parent) {
                continue;
            }
            rest.extend(&node.children);
            let (block, finalises) = (node.block_ref(), node.finalises());
            if let Some(node) = self.nodes.get_mut(&id) {
                node.settled = true;
            }
            if let Some(newer) = finalises
                && newer.height > self.final_block.height
                && self.is_ancestor(self.final_block, newer.id)
            {
                self.final_block = newer;
            }
            let follows = self.is_ancestor(self.final_block, id);
            // The head leaves the final chain only where safety is broken, which there is evidence of by now.
            let strayed = !self.is_ancestor(self.final_block, self.head.id);
            if follows && (strayed || self.is_better(block)) {
                self.head = block;
            }
        }
        if self.head != old_head {
            changes.head = Some(self.head);
        }
        if self.final_block != old_final {
            changes.finalised = self.path(old_final, self.final_block);
            self.prune(changes);
        }
    }

    /// Longest chain, then lowest slot, then lowest id.
    fn is_better(&self, block: BlockRef) -> bool {
        let rank = |block: BlockRef| {
            let slot = self.header(block.id).map(|header| header.slot);
            (block.height, Reverse(slot), Reverse(block.id))
        };
        rank(block) > rank(self.head)
    }

    /// The blocks above `below` up to `end`, oldest first.
    fn path(&self, below: BlockRef, end: BlockRef) -> Vec<BlockRef> {
        let mut path = Vec::new();
        let mut next = self.nodes.get(&end.id);
        while let Some(node) = next.filter(|node| node.header.height > below.height) {
            path.push(node.block_ref());
            next = self.nodes.get(&node.header.parent);
        }
        path.reverse();
        path
    }

    /// Moves the root up to [`KEPT_FINAL`] blocks below the final one, and forgets all that does not descend from it.
    fn prune(&mut self, changes: &mut Changes) {
        let height = self.final_block.height.saturating_sub(KEPT_FINAL);
        if height <= self.root.height {
            return;
        }
        let Some(root) = self
            .path(self.root, self.final_block)
            .into_iter()
            .find(|block| block.height == height)
        else {
            return;
        };
        let mut rest: Vec<BlockId> = self
            .by_height
            .range(..=height)
            .flat_map(|(_, ids)| ids)
            .copied()
            .filter(|id| *id != root.id)
            .collect();
        self.root = root;
        while let Some(id) = rest.pop() {
            // The new root is a child of a block that goes.
            let children = self
                .children(id)
                .iter()
                .copied()
                .filter(|id| *id != root.id);
            rest.extend(children.collect::<Vec<_>>());
            self.remove(id, changes);
        }
    }

    /// Whether a block may still become part of the final chain.
    pub fn is_on_final_chain(&self, id: BlockId) -> bool {
        self.nodes
            .get(&id)
            .map(Node::block_ref)
            .is_some_and(|block| {
                if block.height <= self.final_block.height {
                    self.is_ancestor(block, self.final_block.id)
                } else {
                    self.is_ancestor(self.final_block, id)
                }
            })
    }
}
