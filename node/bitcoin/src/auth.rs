//! How we log in at the Bitcoin node. Secrets come from files, are never shown, and are wiped after use.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// More than any cookie or password needs; a larger file is not one.
const MAX_SECRET_BYTES: u64 = 1024;

/// Where the user and password for the node's RPC come from. Holds paths, never secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The node's own `.cookie`: it writes a new one at each start, so it is read again whenever the node refuses us.
    CookieFile(PathBuf),
    /// A user (as in the node's `rpcauth`) and a file that holds the password in its first line.
    PasswordFile {
        /// User name.
        user: String,
        /// File with the password.
        path: PathBuf,
    },
}

/// Why there is nothing to log in with.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The file could not be read. A missing cookie usually means that the node does not run.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not {expected}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
}

/// User and password as read just now. No `Debug`, wiped when dropped.
#[derive(PartialEq, Eq)]
pub(crate) struct UserPassword {
    pub(crate) user: Zeroizing<String>,
    pub(crate) password: Zeroizing<String>,
}

impl Credentials {
    /// The file behind it.
    pub fn path(&self) -> &Path {
        match self {
            Self::CookieFile(path) | Self::PasswordFile { path, .. } => path,
        }
    }

    pub(crate) fn read(&self) -> Result<UserPassword, CredentialsError> {
        let line = first_line(self.path())?;
        let content = |expected| CredentialsError::Content {
            path: self.path().to_owned(),
            expected,
        };
        match self {
            Self::CookieFile(_) => {
                let (user, password) = line
                    .split_once(':')
                    .filter(|(user, password)| !user.is_empty() && !password.is_empty())
                    .ok_or_else(|| content("a Bitcoin node's cookie (one line `user:password`)"))?;
                Ok(UserPassword {
                    user: Zeroizing::new(user.to_owned()),
                    password: Zeroizing::new(password.to_owned()),
                })
            }
            Self::PasswordFile { user, .. } => {
                if line.is_empty() {
                    return Err(content("a password file (the password in its first line)"));
                }
                Ok(UserPassword {
                    user: Zeroizing::new(user.clone()),
                    password: line,
                })
            }
        }
    }
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, CredentialsError> {
    let read = |source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    };
    let content = || CredentialsError::Content {
        path: path.to_owned(),
        expected: "a secret of one line (UTF-8, at most 1 KiB)",
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES as usize + 1));
    File::open(path)
        .map_err(read)?
        .take(MAX_SECRET_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(content());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| content())?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Reads credentials of the given kind from a file of this content.
    fn read(
        kind: impl Fn(PathBuf) -> Credentials,
        content: &[u8],
    ) -> Result<UserPassword, CredentialsError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        kind(file.path().to_owned()).read()
    }

    fn password_file(path: PathBuf) -> Credentials {
        Credentials::PasswordFile {
            user: "alys".into(),
            path,
        }
    }

    #[test]
    fn cookie_is_split_at_the_first_colon() {
        let found = read(Credentials::CookieFile, b"__cookie__:ab:cd\n")
            .ok()
            .unwrap();
        assert_eq!(*found.user, "__cookie__");
        assert_eq!(*found.password, "ab:cd");
    }

    #[test]
    fn what_is_no_cookie_is_refused_without_showing_it() {
        for bad in [
            &b""[..],
            b"hunter2",
            b":hunter2",
            b"hunter2:",
            b"\xff:hunter2",
            &[b'a'; 2000],
        ] {
            let error = read(Credentials::CookieFile, bad).err().unwrap();
            assert!(matches!(error, CredentialsError::Content { .. }));
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn password_is_the_first_line() {
        let found = read(password_file, b"s3 cret:x\r\nrest").ok().unwrap();
        assert_eq!(
            (found.user.as_str(), found.password.as_str()),
            ("alys", "s3 cret:x")
        );
        assert!(read(password_file, b"\n").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let credentials = Credentials::CookieFile(PathBuf::from("no/such/.cookie"));
        let error = credentials.read().err().unwrap();
        assert!(error.to_string().contains("no/such/.cookie"), "{error}");
    }
}
