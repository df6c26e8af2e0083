//! Signers whose keys a PKCS#11 token seals: a SoftHSM token each, in the signer's folder. A real one is elsewhere.

use super::plan::signer_dir;
use alys_provision::config::SignerConfig;
use alys_provision::files::{self, Readers};
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What keeps the members' keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Files that a passphrase opens.
    #[default]
    Software,
    /// Files that a token's key opens; the outside counter is in the token, too.
    Pkcs11,
}

/// Of all tokens; they guard nothing, as the devnet's passphrase. `softhsm2-util` takes them as arguments only.
const PIN: &str = "devnet-4711";
const SO_PIN: &str = "devnet-0815";
const LABEL: &str = "alys";
/// Where Debian's `softhsm2` has it.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

fn folder(dir: &Path, name: &str) -> PathBuf {
    signer_dir(dir, name).join("token")
}

impl Backend {
    /// The environment of a member's signer: SoftHSM finds its tokens by it.
    pub(super) fn environment(self, dir: &Path, name: &str) -> Vec<(&'static str, PathBuf)> {
        match self {
            Self::Software => Vec::new(),
            Self::Pkcs11 => {
                let config = folder(dir, name).join("softhsm2.conf");
                vec![("SOFTHSM2_CONF", config)]
            }
        }
    }

    /// Makes what the keys will be sealed under, and says so in the signer's configuration.
    pub(super) async fn prepare(
        self,
        dir: &Path,
        name: &str,
        config: SignerConfig,
    ) -> anyhow::Result<SignerConfig> {
        match self {
            Self::Software => return Ok(config),
            Self::Pkcs11 => {}
        }
        if !Path::new(MODULE).is_file() {
            bail!("expected SoftHSM at {MODULE}, found none: run `make setup`");
        }
        let folder = folder(dir, name);
        let tokens = folder.join("tokens");
        fs::create_dir_all(&tokens)?;
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        files::write_new(
            &folder.join("softhsm2.conf"),
            settings.as_bytes(),
            Readers::Owner,
        )?;
        let pin = folder.join("pin");
        files::write_new(&pin, PIN.as_bytes(), Readers::Owner)?;
        let output = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL])
            .args(["--so-pin", SO_PIN, "--pin", PIN])
            .envs(self.environment(dir, name))
            .output()
            .await
            .context("softhsm2-util")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("softhsm2-util --init-token: {said}");
        }
        let uri = format!(
            "pkcs11:token={LABEL};object=seal?pin-source=file:{}",
            pin.display()
        );
        Ok(config.with_token(MODULE.into(), uri))
    }
}
