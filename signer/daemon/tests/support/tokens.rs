//! SoftHSM tokens of one rig. The module finds them by the environment of its process, which is the signer's.

use super::write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const PIN: &str = "correct-4711";
const SO_PIN: &str = "officer-0815";

/// A folder of tokens, the first of which is `alys`.
pub struct Tokens {
    folder: PathBuf,
    config: String,
}

/// Debian's SoftHSM, or the one that `ALYS_SOFTHSM2_MODULE` names.
pub fn module() -> PathBuf {
    if let Some(path) = std::env::var_os("ALYS_SOFTHSM2_MODULE") {
        return PathBuf::from(path);
    }
    let path = PathBuf::from("/usr/lib/softhsm/libsofthsm2.so");
    assert!(
        path.exists(),
        "softhsm2 is missing: run provisioning/setup/packages.sh"
    );
    path
}

impl Tokens {
    pub fn new(folder: &Path, mode: &str) -> Self {
        let mut tokens = Self {
            folder: folder.to_owned(),
            config: String::new(),
        };
        std::fs::create_dir(tokens.store()).unwrap();
        write(
            &folder.join("softhsm2.conf"),
            &format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                tokens.store().display()
            ),
        );
        tokens.pin(PIN);
        tokens.make("alys");
        tokens.config = tokens.table("token=alys;object=seal", mode);
        tokens
    }

    /// The table `[token]` of the rig's own configuration.
    pub fn config(&self) -> &str {
        &self.config
    }

    pub fn table(&self, attributes: &str, mode: &str) -> String {
        format!(
            "[token]\nmodule = '{}'\nuri = 'pkcs11:{attributes}?pin-source=file:{}'\nmode = '{mode}'\n",
            module().display(),
            self.pin_file().display()
        )
    }

    /// Takes all tokens out of their slots.
    pub fn remove(&self) {
        std::fs::rename(self.store(), self.folder.join("removed")).unwrap();
        std::fs::create_dir(self.store()).unwrap();
    }

    /// Undoes [`Tokens::remove`].
    pub fn put_back(&self) {
        std::fs::remove_dir(self.store()).unwrap();
        std::fs::rename(self.folder.join("removed"), self.store()).unwrap();
    }

    /// Where SoftHSM keeps them.
    fn store(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    pub fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    /// Writes the file with the PIN.
    pub fn pin(&self, pin: &str) {
        let new = self.folder.join("pin.new");
        write(&new, pin);
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, self.pin_file()).unwrap();
    }

    /// Prepares a command to run among them.
    pub fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf"))
    }

    /// Makes another token.
    pub fn make(&self, label: &str) {
        let mut command = Command::new("softhsm2-util");
        command
            .args(["--init-token", "--free", "--label", label])
            .args(["--so-pin", SO_PIN, "--pin", PIN])
            .stdin(Stdio::null());
        let output = self.of(&mut command).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
