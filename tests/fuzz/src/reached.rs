//! Which accepting paths an input took: a target whose inputs are all refused at the door tests nothing, so the committed
//! corpus must reach every path that a target names (`seeds`).

use std::collections::BTreeSet;

/// Names of the accepting paths that were taken.
#[derive(Debug, Default)]
pub struct Reached(BTreeSet<&'static str>);

impl Reached {
    pub fn note(&mut self, path: &'static str) {
        self.0.insert(path);
    }

    pub fn note_if(&mut self, taken: bool, path: &'static str) {
        if taken {
            self.note(path);
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn has(&self, path: &str) -> bool {
        self.0.contains(path)
    }
}
