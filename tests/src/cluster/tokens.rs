//! Signers with a PKCS#11 token each, in the signer's folder. A real one is elsewhere. SoftHSM's seal the keys; the last
//! member's is of our own test module and signs itself.

use super::plan::signer_dir;
use super::provision::NAMES;
use alys_provision::config::SignerConfig;
use alys_provision::files::{self, Readers};
use alys_signer_pkcs11::{NativeConfig, NativeKeyConfig, VendorMechanism};
use alys_test_pkcs11_module as module;
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
    /// Tokens: they seal the keys, and the last member's signs itself. The outside counters are in them, too.
    Pkcs11,
}

/// Of all tokens; they guard nothing, as the devnet's passphrase. `softhsm2-util` takes them as arguments only.
const PIN: &str = "devnet-4711";
const SO_PIN: &str = "devnet-0815";
const LABEL: &str = "alys";
/// Where Debian's `softhsm2` has it.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The member whose token signs itself.
const NATIVE: &str = {
    let [_, _, _, last] = NAMES;
    last
};

fn folder(dir: &Path, name: &str) -> PathBuf {
    signer_dir(dir, name).join("token")
}

impl Backend {
    /// The environment of a member's signer: the modules find their tokens by it.
    pub(super) fn environment(self, dir: &Path, name: &str) -> Vec<(&'static str, PathBuf)> {
        match self {
            Self::Software => Vec::new(),
            Self::Pkcs11 => {
                let folder = folder(dir, name);
                vec![
                    ("SOFTHSM2_CONF", folder.join("softhsm2.conf")),
                    (module::FOLDER, folder.join("native")),
                ]
            }
        }
    }

    /// Makes the token, and names it in the signer's configuration.
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
        let folder = folder(dir, name);
        fs::create_dir_all(&folder)?;
        let pin = folder.join("pin");
        files::write_new(&pin, PIN.as_bytes(), Readers::Owner)?;
        let uri = format!(
            "pkcs11:token={LABEL};object=seal?pin-source=file:{}",
            pin.display()
        );
        if name == NATIVE {
            return native(&folder, config, uri);
        }
        self.sealed(dir, name).await?;
        Ok(config.with_token(MODULE.into(), uri))
    }

    /// A token of SoftHSM.
    async fn sealed(self, dir: &Path, name: &str) -> anyhow::Result<()> {
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
        Ok(())
    }
}

/// A token of our own module, in which `alys-signer init` makes the keys.
fn native(folder: &Path, config: SignerConfig, uri: String) -> anyhow::Result<SignerConfig> {
    let library = module::library()
        .context("expected the test module (libalys_test_pkcs11_module.so) beside this program")?;
    let place = folder.join("native");
    fs::create_dir_all(&place)?;
    module::make_token(&place, LABEL, SO_PIN, PIN)?;
    let key = |object: &str, sign, generate| {
        anyhow::Ok(NativeKeyConfig {
            object: object.to_owned(),
            sign,
            generate: Some(VendorMechanism::new(generate, Vec::new())?),
        })
    };
    let bls = |domain| VendorMechanism::new(module::SIGN_BLS, vec![domain]);
    let wallet = VendorMechanism::new(module::SIGN_SCHNORR, Vec::new())?;
    let native = NativeConfig {
        schnorr: key("wallet", wallet, module::GENERATE_SCHNORR)?,
        bls: key("vote", bls(module::BLS_SIGNATURE)?, module::GENERATE_BLS)?,
        bls_possession: Some(bls(module::BLS_POSSESSION)?),
    };
    Ok(config.with_native_token(library, uri, native))
}
