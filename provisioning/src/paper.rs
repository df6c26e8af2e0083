//! What officers sign: policies and statements, and nothing else. They see what a file means before they sign it; its
//! comments are not part of that, since signers do not read them.

use crate::files;
use alys_signer_core::admin::statement::{self, Statement};
use alys_signer_core::policy::{self, PolicyFile};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file that is not for officers to sign.
#[derive(Debug, Error)]
pub enum PaperError {
    /// It cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is neither.
    #[error("{path}: expected a policy or a statement, found neither:\nas a policy: {policy}as a statement: {statement}", path = path.display())]
    Neither {
        /// The file.
        path: PathBuf,
        /// Why it is no policy.
        policy: Box<toml::de::Error>,
        /// Why it is no statement.
        statement: Box<toml::de::Error>,
    },
    /// A policy that no signer would take.
    #[error("{path}: {error}", path = path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: alys_signer_core::PolicyError,
    },
    /// The one before is no policy, or a statement has none before it.
    #[error("{path}: expected a policy to compare another one with", path = path.display())]
    Before {
        /// The file.
        path: PathBuf,
    },
}

/// A file to sign, as it was read once: what is explained is what is signed.
#[derive(Debug)]
pub struct Paper {
    path: PathBuf,
    text: String,
    meaning: Meaning,
}

#[derive(Debug)]
enum Meaning {
    Policy(Box<PolicyFile>),
    Statement(Statement),
}

impl Paper {
    /// Reads a policy or a statement.
    ///
    /// # Errors
    /// - [`PaperError`] where it cannot be read or is neither.
    pub fn read(path: &Path) -> Result<Self, PaperError> {
        let text = files::read(path).map_err(|error| PaperError::Read {
            path: path.to_owned(),
            error: io::Error::other(error),
        })?;
        let meaning = match toml::from_str::<PolicyFile>(&text) {
            Ok(file) => {
                let checked = file.policy.check_alone();
                checked.map_err(|error| PaperError::Policy {
                    path: path.to_owned(),
                    error,
                })?;
                Meaning::Policy(Box::new(file))
            }
            Err(policy) => {
                let statement = toml::from_str(&text);
                Meaning::Statement(statement.map_err(|statement| PaperError::Neither {
                    path: path.to_owned(),
                    policy: Box::new(policy),
                    statement: Box::new(statement),
                })?)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            text,
            meaning,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Says what it means, and what it changes where it follows the policy in the file `before`.
    ///
    /// # Errors
    /// - [`PaperError`] where that one cannot be read, or one of the two is no policy.
    pub fn explain(&self, before: Option<&Path>) -> Result<String, PaperError> {
        let Some(before) = before else {
            return Ok(match &self.meaning {
                Meaning::Policy(file) => policy::explain(file, None),
                Meaning::Statement(statement) => statement::explain(statement),
            });
        };
        match (&self.meaning, Self::read(before)?.meaning) {
            (Meaning::Policy(file), Meaning::Policy(old)) => Ok(format!(
                "{}\n\nWhat changes:\n{}",
                policy::explain(file, None),
                policy::diff(&old, file).join("\n")
            )),
            _ => Err(PaperError::Before {
                path: before.to_owned(),
            }),
        }
    }
}
