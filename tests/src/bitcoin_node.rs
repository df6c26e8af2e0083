//! A real Bitcoin node on regtest, as a process of its own, for the devnet and the tests.

use alys_bitcoin::devnet::{DevnetError, DevnetNode};
use alys_bitcoin::{BitcoinClient, ConfigError, Credentials, NodeConfig, RpcError};
use anyhow::{Context as _, ensure};
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Address, Network, Transaction};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A start takes about a second; the limit is for a machine that does much else.
const START_LIMIT: Duration = Duration::from_secs(120);
/// A node that stops writes its caches first.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Other processes may take a free port between our finding it and the node's binding it.
const PORT_ATTEMPTS: u32 = 5;
/// Lines of the node's log that an error shows.
const SHOWN_LINES: usize = 20;

/// How to run a node.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Whether other nodes may connect to it.
    pub listen: bool,
    /// Whether it indexes all transactions, so that it finds confirmed ones without their block.
    pub txindex: bool,
    /// Ports to use instead of free ones, so that addresses outlive the process that started it: RPC, then p2p.
    pub ports: Option<(u16, u16)>,
    /// More arguments, after ours.
    pub extra: Vec<String>,
}

/// Why a node does not run.
#[derive(Debug, Error)]
pub enum NodeError {
    /// There is none to run.
    #[error(
        "no Bitcoin node found: set BITCOIND_EXE, put bitcoind (28 or later) on PATH, or run provisioning/setup/bitcoin.sh"
    )]
    NoExecutable,
    /// A file or process could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// It stopped during its start.
    #[error("bitcoind ended at its start ({status}):\n{log}")]
    Exited {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It did not start or stop in time.
    #[error("bitcoind did not {what} within {limit:?}:\n{log}")]
    TooSlow {
        /// `start` or `stop`.
        what: &'static str,
        /// How long it was given.
        limit: Duration,
        /// The end of its log.
        log: String,
    },
    /// It runs, and cannot be used.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// It runs, and cannot be controlled.
    #[error(transparent)]
    Devnet(#[from] DevnetError),
    /// Our own configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A running or stopped node. Dropping it kills the process.
#[derive(Debug)]
pub struct BitcoinNode {
    executable: PathBuf,
    dir: PathBuf,
    options: NodeOptions,
    rpc_port: u16,
    p2p_port: u16,
    child: Option<Child>,
    client: BitcoinClient,
}

impl BitcoinNode {
    /// Starts a regtest node with its data in `dir` (made if missing), on free ports of 127.0.0.1, and waits until it
    /// serves calls.
    ///
    /// # Errors
    /// - [`NodeError`] where there is no node to run or it does not start.
    pub async fn start(dir: &Path, options: NodeOptions) -> Result<Self, NodeError> {
        let executable = executable()?;
        fs::create_dir_all(dir).map_err(|error| io_error(dir.display(), error))?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (rpc_port, p2p_port) = match options.ports {
                Some(ports) => ports,
                None => free_ports().map_err(|error| io_error("find free ports", error))?,
            };
            let config = config(rpc_port, dir);
            let mut node = Self {
                executable: executable.clone(),
                dir: dir.to_owned(),
                options: options.clone(),
                rpc_port,
                p2p_port,
                child: None,
                client: BitcoinClient::new(config)?,
            };
            match node.run().await {
                Ok(()) => return Ok(node),
                Err(NodeError::Exited { log, .. })
                    if options.ports.is_none()
                        && attempt < PORT_ATTEMPTS
                        && (log.contains("Unable to bind")
                            || log.contains("Unable to start HTTP server")) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`]: same data, same ports, new cookie.
    ///
    /// # Errors
    /// - [`NodeError`] where it does not start.
    pub async fn restart(&mut self) -> Result<(), NodeError> {
        self.kill().await?;
        self.run().await
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// - [`NodeError::TooSlow`] where it does not stop in time.
    pub async fn stop(&mut self) -> Result<(), NodeError> {
        self.end(Signal::SIGTERM).await
    }

    /// Ends it at once, as a power cut would, and waits until it is gone. Blocks that it had not written are lost; see
    /// [`DevnetNode::flush`].
    ///
    /// # Errors
    /// - [`NodeError::Io`] where the system does not let us.
    pub async fn kill(&mut self) -> Result<(), NodeError> {
        self.end(Signal::SIGKILL).await
    }

    /// A client of it. It stays good across restarts.
    pub fn client(&self) -> &BitcoinClient {
        &self.client
    }

    /// Control of its chain and wallets.
    ///
    /// # Errors
    /// - [`NodeError::Devnet`] never on regtest.
    pub fn devnet(&self) -> Result<DevnetNode, NodeError> {
        Ok(DevnetNode::new(self.client.clone())?)
    }

    /// Makes a block with exactly these transactions, which relay rules may forbid and consensus rules may not.
    ///
    /// # Errors
    /// - where the node says no or cannot be asked.
    pub async fn generate_block(
        &self,
        address: &Address,
        transactions: &[Transaction],
    ) -> anyhow::Result<()> {
        let raw: Vec<String> = transactions.iter().map(serialize_hex).collect();
        let cookie = fs::read_to_string(self.dir.join("regtest").join(".cookie"))?;
        let (user, password) = cookie.split_once(':').context("no cookie")?;
        let request = json!({
            "jsonrpc": "2.0",
            "id": 0,
            "method": "generateblock",
            "params": [address, raw],
        });
        let client = reqwest::Client::builder().timeout(STOP_LIMIT).build()?;
        let call = client.post(self.config().url).json(&request);
        let answer = call.basic_auth(user, Some(password)).send().await?;
        let answer: Value = answer.json().await?;
        ensure!(answer["result"]["hash"].is_string(), "{answer}");
        Ok(())
    }

    /// What another client of it needs.
    pub fn config(&self) -> NodeConfig {
        config(self.rpc_port, &self.dir)
    }

    /// Where it listens for other nodes, if it does.
    pub fn p2p_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.p2p_port))
    }

    /// `bitcoin-cli` with the arguments that reach this node.
    pub fn command_line(&self) -> Vec<OsString> {
        let mut folder = OsString::from("-datadir=");
        folder.push(&self.dir);
        vec![
            self.executable.with_file_name("bitcoin-cli").into(),
            "-regtest".into(),
            folder,
            format!("-rpcport={}", self.rpc_port).into(),
        ]
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    async fn run(&mut self) -> Result<(), NodeError> {
        let knots = is_knots(&self.executable).await?;
        let mut child = Command::new(&self.executable)
            .args(self.arguments(knots))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io_error(self.executable.display(), error))?;
        let stdout = child.stdout.take().ok_or_else(|| {
            io_error(
                "read bitcoind's log",
                io::Error::from(io::ErrorKind::BrokenPipe),
            )
        })?;
        let mut lines = BufReader::new(stdout).lines();
        let mut log = VecDeque::new();
        match timeout(START_LIMIT, wait_until_loaded(&mut lines, &mut log)).await {
            Ok(true) => {}
            Ok(false) => {
                let status = child.wait().await;
                return Err(NodeError::Exited {
                    status: status.map_err(|error| io_error("wait for bitcoind", error))?,
                    log: shown(log),
                });
            }
            Err(_) => {
                return Err(NodeError::TooSlow {
                    what: "start",
                    limit: START_LIMIT,
                    log: shown(log),
                });
            }
        }
        // Its log is in its folder; a pipe that nobody reads would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.child = Some(child);
        // Not by our own client, whose circuit may still be open from before.
        BitcoinClient::new(self.config())?.verify().await?;
        Ok(())
    }

    fn arguments(&self, knots: bool) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "-regtest",
            "-server=1",
            "-daemon=0",
            "-printtoconsole=1",
            "-rpcbind=127.0.0.1",
            "-rpcallowip=127.0.0.1",
            // A long poll occupies a thread: leave some for everybody else.
            "-rpcthreads=16",
            "-dnsseed=0",
            "-fixedseeds=0",
            "-discover=0",
            "-natpmp=0",
            "-listenonion=0",
            "-dbcache=32",
            // Wallets need it on a chain too young for estimates.
            "-fallbackfee=0.00010000",
        ]
        .map(String::from)
        .into();
        arguments.push(format!("-datadir={}", self.dir.display()));
        arguments.push(format!("-rpcport={}", self.rpc_port));
        if self.options.listen {
            arguments.push("-listen=1".into());
            arguments.push(format!("-bind={}", self.p2p_address()));
        } else {
            arguments.push("-listen=0".into());
        }
        if self.options.txindex {
            arguments.push("-txindex=1".into());
        }
        if knots {
            // Knots' own relay policy refuses much that Core relays, such as large tapscript witnesses.
            arguments.push("-corepolicy=1".into());
        }
        arguments.extend(self.options.extra.iter().cloned());
        arguments
    }

    async fn end(&mut self, signal: Signal) -> Result<(), NodeError> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        // `None`: it has ended by itself and been waited for.
        if let Some(pid) = child.id() {
            kill(Pid::from_raw(pid as i32), signal)
                .map_err(|error| io_error("signal bitcoind", error.into()))?;
        }
        match timeout(STOP_LIMIT, child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(io_error("wait for bitcoind", error)),
            // Dropping `child` kills it.
            Err(_) => Err(NodeError::TooSlow {
                what: "stop",
                limit: STOP_LIMIT,
                log: String::new(),
            }),
        }
    }
}

fn config(rpc_port: u16, dir: &Path) -> NodeConfig {
    NodeConfig::new(
        format!("http://127.0.0.1:{rpc_port}"),
        Credentials::CookieFile(dir.join("regtest").join(".cookie")),
        Network::Regtest,
    )
}

/// `BITCOIND_EXE`, else `bitcoind` on PATH, else the one that the set-up script chose.
fn executable() -> Result<PathBuf, NodeError> {
    if let Some(path) = std::env::var_os("BITCOIND_EXE") {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path)
        .map(|folder| folder.join("bitcoind"))
        .find(|candidate| candidate.is_file())
    {
        return Ok(found);
    }
    let cache = std::env::var_os("ALYS_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/alys")))
        .ok_or(NodeError::NoExecutable)?;
    let chosen = fs::read_to_string(cache.join("bitcoin/chosen"));
    let chosen = chosen.map_err(|_| NodeError::NoExecutable)?;
    Ok(PathBuf::from(chosen.trim_end()))
}

async fn is_knots(executable: &Path) -> Result<bool, NodeError> {
    let output = Command::new(executable)
        .arg("-version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| io_error(executable.display(), error))?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("Knots"))
}

/// Two ports that were free a moment ago, and differ.
fn free_ports() -> io::Result<(u16, u16)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// Reads the log until the node serves calls; false where it ends before.
async fn wait_until_loaded(
    lines: &mut Lines<BufReader<ChildStdout>>,
    log: &mut VecDeque<String>,
) -> bool {
    while let Ok(Some(line)) = lines.next_line().await {
        if line.ends_with("Done loading") {
            return true;
        }
        if log.len() == SHOWN_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
    false
}

fn shown(log: VecDeque<String>) -> String {
    Vec::from(log).join("\n")
}

fn io_error(what: impl ToString, source: io::Error) -> NodeError {
    NodeError::Io {
        what: what.to_string(),
        source,
    }
}
