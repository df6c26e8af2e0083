//! The node's ed25519 network identity: a file of 64 hexadecimal digits (the secret seed), mode 0600.
//!
//! It names the node to its peers and signs its gossip. No money and no vote depends on it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hex::{DisplayHex, FromHex};
use libp2p::PeerId;
use libp2p::identity::{Keypair, ed25519};
use thiserror::Error;
use zeroize::Zeroizing;

/// Hexadecimal digits of the seed.
const DIGITS: usize = 64;
/// Permission bits that nobody but the owner may have.
const FORBIDDEN_MODE: u32 = 0o077;

/// The identity file cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Reading or writing failed.
    #[error("identity file {path}: {action}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Others than the owner may access the file.
    #[error("identity file {path}: expected permissions 0600, found {found:04o}; run chmod 600 if nobody else has read it, else delete it", path = .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
    },
    /// Not a regular file.
    #[error("identity file {path}: expected a regular file", path = .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Not a key. What was found is not shown, since it may be most of one.
    #[error("identity file {path}: expected {DIGITS} hexadecimal digits, found {found}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        found: String,
    },
}

/// A node's network identity.
#[derive(Clone)]
pub struct Identity(Keypair);

impl Identity {
    /// Loads the identity from `path`, or makes one there if the file does not exist. The file appears whole and
    /// synced to disk, or not at all; of two processes that make it at once, both get the same.
    ///
    /// # Errors
    /// - [`IdentityError::Io`] if the folder does not exist or the system refuses.
    /// - [`IdentityError::Permissions`] if others than the owner may access the file.
    /// - [`IdentityError::NotAFile`] for a folder, pipe or device.
    /// - [`IdentityError::Malformed`] if the content is not a key.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(path)?;
                Self::load(path)
            }
            result => result,
        }
    }

    /// The id under which peers know this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.0
    }

    fn load(path: &Path) -> Result<Self, IdentityError> {
        let failed = |action| {
            move |source| IdentityError::Io {
                path: path.to_owned(),
                action,
                source,
            }
        };
        // Looked at before opening, since opening a pipe would wait; and again after, since it may have changed.
        let before = fs::metadata(path).map_err(failed("looking it up"))?;
        if !before.is_file() {
            return Err(IdentityError::NotAFile {
                path: path.to_owned(),
            });
        }
        let file = File::open(path).map_err(failed("opening it"))?;
        let mode = file.metadata().map_err(failed("looking it up"))?.mode() & 0o7777;
        if mode & FORBIDDEN_MODE != 0 {
            return Err(IdentityError::Permissions {
                path: path.to_owned(),
                found: mode,
            });
        }
        let malformed = |found: String| IdentityError::Malformed {
            path: path.to_owned(),
            found,
        };
        let mut content = Zeroizing::new(Vec::with_capacity(DIGITS.saturating_mul(2)));
        file.take(DIGITS.saturating_add(3) as u64)
            .read_to_end(&mut content)
            .map_err(failed("reading it"))?;
        let text = std::str::from_utf8(&content)
            .map_err(|_| malformed("bytes that are no text".to_owned()))?
            .trim_end();
        if text.len() != DIGITS {
            let more = if text.len() > DIGITS {
                "more than that".to_owned()
            } else {
                format!("{} characters", text.len())
            };
            return Err(malformed(more));
        }
        let mut seed = Zeroizing::new(
            <[u8; 32]>::from_hex(text)
                .map_err(|_| malformed("a character that is none".to_owned()))?,
        );
        let key = Keypair::ed25519_from_bytes(seed.as_mut_slice())
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self(key))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Identity")
            .field(&self.peer_id())
            .finish()
    }
}

fn create(path: &Path) -> Result<(), IdentityError> {
    let failed = |action| {
        move |source| IdentityError::Io {
            path: path.to_owned(),
            action,
            source,
        }
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = folder.join(format!(
        ".identity-{:016x}.tmp",
        RandomState::new().hash_one(std::process::id())
    ));
    let secret = ed25519::SecretKey::generate();
    let mut content = Zeroizing::new(secret.as_ref().to_lower_hex_string());
    content.push('\n');

    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .map_err(failed("writing a new one"));
    // A link, unlike a rename, never replaces a file that appeared meanwhile.
    let linked = written.and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed("putting a new one in place")(error))
        }
        _ => Ok(()),
    });
    let removed = match fs::remove_file(&temporary) {
        Err(error) if linked.is_ok() => Err(failed("removing the temporary file")(error)),
        _ => Ok(()),
    };
    linked.and(removed)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("syncing its folder"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &Path, content: &str, mode: u32) {
        let mut file = File::create(path).unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode))
            .unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    #[test]
    fn is_created_once_with_mode_0600_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let first = Identity::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            Identity::load_or_create(&path).unwrap().peer_id(),
            first.peer_id()
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
        let seed = fs::read_to_string(&path).unwrap();
        assert!(
            !format!("{first:?}").contains(seed.trim()),
            "the seed is not shown"
        );
    }

    #[test]
    fn known_seed_gives_the_known_peer() {
        // RFC 8032, 7.1, test 1: public key d75a9801..., in libp2p's "identity" multihash form.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        write(
            &path,
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n",
            0o600,
        );
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let peer = Identity::load_or_create(&path).unwrap().peer_id();
        assert_eq!(
            peer.to_bytes().to_lower_hex_string(),
            format!("002408011220{public}")
        );
    }

    #[test]
    fn wide_permissions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        for mode in [0o640, 0o604, 0o601, 0o660] {
            write(&path, &"ab".repeat(32), mode);
            let error = Identity::load_or_create(&path).unwrap_err();
            assert!(
                matches!(error, IdentityError::Permissions { found, .. } if found == mode),
                "{error}"
            );
            assert!(
                error
                    .to_string()
                    .contains(&format!("expected permissions 0600, found {mode:04o}")),
                "{error}"
            );
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn malformed_content_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        for content in [
            "",
            "abcd",
            &"ab".repeat(33),
            &"zz".repeat(32),
            &"ab".repeat(5000),
        ] {
            write(&path, content, 0o600);
            let error = Identity::load_or_create(&path).unwrap_err();
            assert!(matches!(error, IdentityError::Malformed { .. }), "{error}");
            assert!(content.is_empty() || !error.to_string().contains(content));
        }
        File::create(&path).unwrap().write_all(&[0xff; 64]).unwrap();
        assert!(matches!(
            Identity::load_or_create(&path),
            Err(IdentityError::Malformed { .. })
        ));
    }

    #[test]
    fn folders_and_missing_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Identity::load_or_create(folder.path()),
            Err(IdentityError::NotAFile { .. })
        ));
        let missing = folder.path().join("missing").join("identity");
        assert!(matches!(
            Identity::load_or_create(&missing),
            Err(IdentityError::Io {
                action: "writing a new one",
                ..
            })
        ));
    }
}
