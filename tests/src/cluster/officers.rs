//! The officers, who sign what signers are limited to, by the code that officers use.

use super::plan::{PASSPHRASE, node_dir};
use super::{Cluster, text};
use crate::process::run;
use alys_provision::ca::{CERTIFICATE_DAYS, CertificateAuthority};
use alys_provision::config::{self, Iteration, POLICY_FILE, SIGNER_CA_FILE, TLS_FOLDER};
use alys_provision::files::{self, Readers};
use alys_provision::{Officer, OfficersConfig, Paper, Parameters};
use alys_signer_client::{ClientConfig, Role};
use anyhow::{Context as _, bail};
use std::fs;
use std::path::Path;

/// Two of them sign the policy.
const OFFICERS: [&str; 3] = ["officer-1", "officer-2", "officer-3"];
const THRESHOLD: usize = 2;
pub(super) const OFFICERS_DIR: &str = "officers";

/// Officers' keys, and a policy that enough of them signed.
pub(super) fn make_officers(
    folder: &Path,
    parameters: &Parameters,
) -> anyhow::Result<OfficersConfig> {
    let policy = folder.join(POLICY_FILE);
    config::write_policy(&policy, parameters, Iteration::new(1))?;
    let mut public = Vec::new();
    for name in OFFICERS {
        let key = Officer::create(folder, name, PASSPHRASE)?;
        public.push(key.with_extension("pub"));
    }
    sign(folder, &policy)?;
    Ok(OfficersConfig::read(None, &public)?)
}

fn sign(officers: &Path, policy: &Path) -> anyhow::Result<()> {
    let paper = Paper::read(policy)?;
    for name in OFFICERS.iter().take(THRESHOLD) {
        let key = officers.join(format!("{name}.key"));
        Officer::open(&key, PASSPHRASE)?.sign(&paper)?;
    }
    Ok(())
}

/// `alys-signer statement ...`.
async fn statement(arguments: &[&str]) -> anyhow::Result<()> {
    let arguments = [&["statement"], arguments].concat();
    run("alys-signer", &arguments, b"").await.map(|_| ())
}

/// The policy and its signatures.
pub(super) fn copy_policy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name.to_string_lossy().starts_with(POLICY_FILE) {
            fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

impl Cluster {
    /// Officers say something to one member's signer, by the commands that people use: `draft` is what follows
    /// `alys-signer statement draft`. So many officers sign it.
    ///
    /// # Errors
    /// - where a command fails; the signer's refusal is in the text.
    pub async fn officers_say(
        &self,
        member: usize,
        draft: &[&str],
        officers: usize,
    ) -> anyhow::Result<()> {
        let plan = self.node_plan(member)?;
        let folder = tempfile::tempdir_in(self.dir.join(OFFICERS_DIR))?;
        let folder = folder.path();
        let member_dir = self.dir.join(&plan.name);
        CertificateAuthority::load(&member_dir.join("authorities").join("clients"))?
            .issue_client(Role::Officer, "an officer", CERTIFICATE_DAYS)?
            .write(folder, Role::Officer.name())?;
        let client = ClientConfig::new(
            fs::read_to_string(self.signer_dir(member)?.join("listening"))?.trim(),
            node_dir(&self.dir, &plan.name)
                .join(TLS_FOLDER)
                .join(SIGNER_CA_FILE),
            folder.join("officer.pem"),
            folder.join("officer.key"),
        );
        let client_file = folder.join("client.toml");
        files::write_new(
            &client_file,
            toml::to_string(&client)?.as_bytes(),
            Readers::All,
        )?;
        let (client, file) = (text(&client_file)?, folder.join("statement.toml"));
        let path = text(&file)?;
        let drafting = [draft, &["--client", &client, "--output", &path]].concat();
        statement(&[&["draft"], &drafting[..]].concat()).await?;
        let paper = Paper::read(&file)?;
        for name in OFFICERS.iter().take(officers) {
            let key = self.dir.join(OFFICERS_DIR).join(format!("{name}.key"));
            Officer::open(&key, PASSPHRASE)?.sign(&paper)?;
        }
        statement(&["submit", "--client", &client, &path]).await
    }

    /// Gives one member's signer another policy, which the officers sign, and restarts it.
    ///
    /// # Errors
    /// - where the limit is none of the policy's, or the signer does not take it.
    pub async fn change_policy(
        &mut self,
        member: usize,
        limit: &str,
        value: u64,
    ) -> anyhow::Result<()> {
        let folder = self.signer_dir(member)?;
        let path = folder.join(POLICY_FILE);
        let mut file: toml::Table = fs::read_to_string(&path)?.parse()?;
        let number = |number: u64| anyhow::Ok(toml::Value::Integer(i64::try_from(number)?));
        let iteration = file.get("iteration").and_then(toml::Value::as_integer);
        let next = iteration.context("a policy without iteration")? + 1;
        file.insert("iteration".to_owned(), toml::Value::Integer(next));
        let policy = file.get_mut("policy").and_then(toml::Value::as_table_mut);
        let policy = policy.context("a policy without limits")?;
        if policy.insert(limit.to_owned(), number(value)?).is_none() {
            bail!("{limit} is no limit of the policy");
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(POLICY_FILE) {
                fs::remove_file(entry.path())?;
            }
        }
        files::write_new(&path, toml::to_string(&file)?.as_bytes(), Readers::All)?;
        sign(&self.dir.join(OFFICERS_DIR), &path)?;
        self.kill_signer(member).await?;
        self.start_signer(member).await
    }
}
