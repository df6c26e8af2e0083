//! Starting, stopping and killing members' signers and nodes, and observers.

use super::plan::{PASSPHRASE, free_ports, node_dir, signer_dir};
use super::{Cluster, START_LIMIT, provision, strings, text};
use crate::process::{Process, Program, run_with};
use alys_protocol::spec::ChainSpec;
use anyhow::{Context as _, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

impl Cluster {
    pub(super) async fn spawn_signer(&mut self, member: usize) -> anyhow::Result<()> {
        let name = self.node_plan(member)?.name.clone();
        let config = self
            .signer_dir(member)?
            .join(alys_provision::config::SIGNER_FILE);
        let ready = self.signer_ready_file(member)?;
        remove_if_there(&ready)?;
        let program = Program {
            name: &format!("signer-{name}"),
            program: "alys-signer",
            arguments: strings(&[
                "run",
                "--config",
                &text(&config)?,
                "--listen-file",
                &text(&ready)?,
                "--passphrase-fd",
                "0",
            ]),
            input: Some(PASSPHRASE.as_bytes()),
            environment: self.plan.backend.environment(&self.dir, &name),
        };
        let process = Process::start(&self.logs(), program).await?;
        slot(&mut self.signers, member)?.replace(process);
        Ok(())
    }

    pub(super) async fn await_signer(&mut self, member: usize) -> anyhow::Result<()> {
        let ready = self.signer_ready_file(member)?;
        let what = format!("signer {}", self.node_plan(member)?.name);
        // It listens once its keys are open.
        self.wait(&what, START_LIMIT, async || {
            Ok(ready.exists().then_some(()))
        })
        .await
    }

    fn signer_ready_file(&self, member: usize) -> anyhow::Result<PathBuf> {
        Ok(self.signer_dir(member)?.join("listening"))
    }

    /// Starts a member's signer again, and waits until it listens.
    ///
    /// # Errors
    /// - where it does not start.
    pub async fn start_signer(&mut self, member: usize) -> anyhow::Result<()> {
        self.spawn_signer(member).await?;
        self.await_signer(member).await
    }

    /// `kill -9` of a member's signer.
    ///
    /// # Errors
    /// - where it does not run.
    pub async fn kill_signer(&mut self, member: usize) -> anyhow::Result<()> {
        let process = slot(&mut self.signers, member)?.take();
        process.context("the signer does not run")?.kill().await
    }

    /// Runs a command of `alys-signer` on a member's keys, which the running signer has for itself: it must not run. Gives
    /// what the command prints.
    ///
    /// # Errors
    /// - where it does not succeed.
    pub async fn on_keys(&self, member: usize, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let name = &self.node_plan(member)?.name;
        let config = self.signer_dir(member)?;
        let config = text(&config.join(alys_provision::config::SIGNER_FILE))?;
        let keys = ["--config", &config, "--passphrase-fd", "0"];
        let arguments = [arguments, &keys].concat();
        let environment = self.plan.backend.environment(&self.dir, name);
        run_with(
            "alys-signer",
            &arguments,
            environment,
            PASSPHRASE.as_bytes(),
        )
        .await
    }

    /// Aborts a signer, as a bug of its own would, and says how it ended.
    ///
    /// # Errors
    /// - where it does not run, or does not end.
    pub async fn abort_signer(&mut self, member: usize) -> anyhow::Result<ExitStatus> {
        let process = slot(&mut self.signers, member)?.take();
        process.context("the signer does not run")?.abort().await
    }

    pub(super) async fn spawn_node(&mut self, index: usize) -> anyhow::Result<()> {
        let name = self.node_plan(index)?.name.clone();
        let folder = self.node_dir(index)?;
        remove_if_there(&endpoints(&folder))?;
        let config = folder.join(alys_provision::config::NODE_FILE);
        let program = Program {
            name: &format!("node-{name}"),
            program: "alys-node",
            arguments: strings(&["run", "--config", &text(&config)?]),
            input: None,
            environment: Vec::new(),
        };
        let process = Process::start(&self.logs(), program).await?;
        slot(&mut self.nodes, index)?.replace(process);
        Ok(())
    }

    pub(super) async fn await_node(&mut self, index: usize) -> anyhow::Result<()> {
        let endpoints = endpoints(&self.node_dir(index)?);
        let what = format!("node {}", self.node_plan(index)?.name);
        self.wait(&what, START_LIMIT, async || {
            Ok(endpoints.exists().then_some(()))
        })
        .await
    }

    /// Starts a node again, and waits until it serves.
    ///
    /// # Errors
    /// - where it does not start.
    pub async fn start_node(&mut self, index: usize) -> anyhow::Result<()> {
        self.spawn_node(index).await?;
        self.await_node(index).await
    }

    /// Starts a node that is expected to give up, and returns its log.
    ///
    /// # Errors
    /// - where it does not end, or ends well.
    pub async fn start_failing_node(&mut self, index: usize) -> anyhow::Result<String> {
        self.spawn_node(index).await?;
        let process = slot(&mut self.nodes, index)?.take();
        let mut process = process.context("the node does not run")?;
        let status = process.wait(START_LIMIT).await?;
        if status.success() {
            bail!("the node ended well:\n{}", process.log_text());
        }
        Ok(process.log_text())
    }

    /// `kill -9` of a node.
    ///
    /// # Errors
    /// - where it does not run.
    pub async fn kill_node(&mut self, index: usize) -> anyhow::Result<()> {
        let process = slot(&mut self.nodes, index)?.take();
        process.context("the node does not run")?.kill().await
    }

    /// Where a node logs, over all its lives.
    ///
    /// # Errors
    /// - where there is no such node.
    pub fn node_log_file(&self, index: usize) -> anyhow::Result<PathBuf> {
        let name = &self.node_plan(index)?.name;
        Ok(self.logs().join(format!("node-{name}.log")))
    }

    /// Where a node's configuration lies.
    ///
    /// # Errors
    /// - where there is no such node.
    pub fn node_dir(&self, index: usize) -> anyhow::Result<PathBuf> {
        Ok(node_dir(&self.dir, &self.node_plan(index)?.name))
    }

    /// Where a member's signer keeps configuration and state.
    ///
    /// # Errors
    /// - where there is no such member.
    pub fn signer_dir(&self, member: usize) -> anyhow::Result<PathBuf> {
        Ok(signer_dir(&self.dir, &self.node_plan(member)?.name))
    }

    /// Where a node listens for its peers: a multiaddress with its peer id.
    ///
    /// # Errors
    /// - where there is no such node.
    pub fn multiaddress(&self, index: usize) -> anyhow::Result<&str> {
        Ok(&self.node_plan(index)?.multiaddress)
    }

    /// Makes a node that works for no member, of the chain `spec`, and returns its index. It is not started.
    ///
    /// # Errors
    /// - where its files cannot be written.
    pub fn add_observer(&mut self, name: &str, spec: &ChainSpec) -> anyhow::Result<usize> {
        let ports = free_ports(4, &self.plan.ports())?;
        let node = provision::node_plan(&self.dir, name, &ports)?;
        provision::write_observer(&self.dir, &self.plan, &node, &self.bitcoin, spec)?;
        self.plan.nodes.push(node);
        self.nodes.push(None);
        self.plan.write(&self.dir)?;
        Ok(self.plan.nodes.len() - 1)
    }
}

/// The file that a node writes once it serves.
fn endpoints(node_dir: &Path) -> PathBuf {
    node_dir.join("data/endpoints.json")
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}

fn slot(processes: &mut [Option<Process>], index: usize) -> anyhow::Result<&mut Option<Process>> {
    let found = processes.get_mut(index);
    found.with_context(|| format!("there is no process {index}"))
}
