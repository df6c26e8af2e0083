//! The three guides in `docs/guides`, walked from their own text: what is typed here is what they say, in a clean folder.
//!
//! A member's folder stands for its machines, as the guides have it. Three things are ours: each member's `site.env`, with free
//! ports; passphrases and throws of dice, which two small scripts in front of the programs hand over by descriptor instead of the
//! terminal; and what nobody types, the [events](Walk::event): a user's payment, and waiting.

use crate::bench::LIMIT;
use alloy_sol_types::SolCall as _;
use alys_contracts::{BRIDGE_EVM_ADDRESS, abi};
use alys_execution::eth::BlockRef;
use alys_protocol::units::{BurnSequence, ChainId, Sats};
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::PegOutStage;
use alys_tests::bitcoin_node::{BitcoinNode, NodeOptions};
use alys_tests::cluster::{FIRST_BITCOIN_BLOCKS, NodeClient, PASSPHRASE, WALLET, free_ports};
use alys_tests::evm::{Call, TestAccount};
use alys_tests::guide::{Action, Part, Who, parts};
use alys_tests::process::command;
use alys_tests::wait::wait_until;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::timeout;

const GUIDES: [(&str, &str); 3] = [
    (
        "security-team.md",
        include_str!("../../../docs/guides/security-team.md"),
    ),
    (
        "operator.md",
        include_str!("../../../docs/guides/operator.md"),
    ),
    (
        "auditor.md",
        include_str!("../../../docs/guides/auditor.md"),
    ),
];
/// In which order the parts are walked: each of the guides' once.
const ORDER: [&str; 5] = ["ceremony", "start", "live", "operate", "audit"];
const MEMBERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const AUDITOR: &str = "auditor";
/// What `alys-provision parameters regtest` gives a chain.
const CHAIN: ChainId = alys_provision::parameters::REGTEST_CHAIN_ID;
/// The longest block of commands takes seconds; the limit is for a machine that does much else.
const BLOCK_LIMIT: Duration = Duration::from_secs(180);
/// Half of the guide's deposit.
const BURNED: Sats = Sats::new(5_000_000);
const DEPOSITED: Sats = Sats::new(10_000_000);
/// Lines of each log that a failure shows.
const SHOWN_LINES: usize = 15;
const BURN_GAS: u64 = 300_000;

/// A die thrown often enough, and not fifty times the same.
const THROWS: &str = "416253165243615243162534615243615243162534165243615243";

struct Walk {
    home: PathBuf,
    path: String,
    bitcoin: BitcoinNode,
    nodes: Vec<NodeClient>,
    user: TestAccount,
    /// Each block has a process group, which whatever it leaves running is in.
    groups: Vec<Pid>,
}

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for group in &self.groups {
            // A group whose processes have all ended is none any more.
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where our programs are.
fn programs() -> PathBuf {
    let program = command("alys-signer").unwrap();
    let program = Path::new(program.as_std().get_program());
    program.parent().unwrap().to_owned()
}

/// Programs that do not ask on the terminal, in front of those that would.
fn write_programs(home: &Path, bitcoin: &BitcoinNode) {
    let bin = home.join("bin");
    fs::create_dir(&bin).unwrap();
    let (programs, bin_text) = (programs(), bin.display().to_string());
    let programs = programs.display();
    fs::write(bin.join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
    fs::write(bin.join("throws"), format!("{THROWS}\n{PASSPHRASE}\n")).unwrap();
    write_program(
        &bin.join("alys-signer"),
        &format!(
            "#!/bin/bash\ncase \"$*\" in\n\
             init*--ceremony*) exec {programs}/alys-signer \"$@\" --entropy-fd 9 --passphrase-fd 9 9< {bin_text}/throws ;;\n\
             init* | run* | 'backup create'* | 'restore finish'*) exec {programs}/alys-signer \"$@\" --passphrase-fd 9 9< {bin_text}/passphrase ;;\n\
             *) exec {programs}/alys-signer \"$@\" ;;\nesac\n"
        ),
    );
    write_program(
        &bin.join("alys-provision"),
        &format!(
            "#!/bin/bash\ncase \"$*\" in\n\
             'officer create'* | 'officer sign'* | 'ceremony confirm'*) exec {programs}/alys-provision \"$@\" --passphrase-fd 9 9< {bin_text}/passphrase ;;\n\
             *) exec {programs}/alys-provision \"$@\" ;;\nesac\n"
        ),
    );
    let mut line = String::new();
    for part in bitcoin.command_line() {
        line.push_str(&format!("'{}' ", part.to_str().unwrap()));
    }
    write_program(
        &bin.join("bitcoin-cli"),
        &format!("#!/bin/bash\nexec {line}\"$@\"\n"),
    );
}

impl Walk {
    async fn begin(home: &Path) -> Self {
        let options = NodeOptions {
            txindex: true,
            ..NodeOptions::default()
        };
        let bitcoin = BitcoinNode::start(&home.join("bitcoin"), options).await;
        let bitcoin = bitcoin.unwrap();
        let devnet = bitcoin.devnet().unwrap();
        let wallet = devnet.wallet(WALLET).await.unwrap();
        let address = wallet.new_address().await.unwrap();
        devnet
            .generate(FIRST_BITCOIN_BLOCKS, &address)
            .await
            .unwrap();
        write_programs(home, &bitcoin);
        let alys_bitcoin::Credentials::CookieFile(cookie) = bitcoin.config().credentials else {
            panic!("bitcoind is expected to use a cookie file");
        };
        let user = TestAccount::new("user", CHAIN).unwrap();
        let ports = free_ports(4 * MEMBERS.len(), &[]).unwrap();
        let mut nodes = Vec::new();
        let site = |name: &str, member: usize, ports: &[u16]| {
            let [signer, rpc, evm, p2p] = ports.try_into().unwrap();
            let folder = home.join(name);
            fs::create_dir(&folder).unwrap();
            let text = format!(
                "ME={name}\nMEMBER={member}\nTABLE={table}\nSIGNER=127.0.0.1:{signer}\nBITCOIN={url}\nCOOKIE={cookie}\n\
                 RPC=127.0.0.1:{rpc}\nEVM=127.0.0.1:{evm}\nLISTEN=/ip4/127.0.0.1/tcp/{p2p}\nACCOUNT={account}\n",
                table = home.join("table").display(),
                url = bitcoin.config().url,
                cookie = cookie.display(),
                account = user.address(),
            );
            fs::write(folder.join("site.env"), text).unwrap();
            NodeClient::at(rpc, evm).unwrap()
        };
        for (member, name) in MEMBERS.iter().enumerate() {
            nodes.push(site(name, member, &ports[4 * member..][..4]));
        }
        // The auditor asks the first member's node.
        site(AUDITOR, 0, &ports[..4]);
        let rest = std::env::var("PATH").unwrap();
        let own = programs();
        Self {
            path: format!("{}:{}:{rest}", home.join("bin").display(), own.display()),
            home: home.to_owned(),
            bitcoin,
            nodes,
            user,
            groups: Vec::new(),
        }
    }

    fn show_logs(&self) {
        for name in MEMBERS {
            for log in ["signer/log", "node/log"] {
                let text = fs::read_to_string(self.home.join(name).join(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let shown = lines.len().saturating_sub(SHOWN_LINES);
                println!("the end of {name}/{log}:\n{}", lines[shown..].join("\n"));
            }
        }
    }

    async fn type_in(&mut self, folder: &str, script: &str, place: &str) {
        let folder = self.home.join(folder);
        let log = self.home.join("typed.log");
        let out = fs::File::create(&log).unwrap();
        let mut child = Command::new("bash")
            .args(["-euo", "pipefail", "-c"])
            .arg(format!("set -a; . ./site.env; set +a\n{script}"))
            .current_dir(&folder)
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        self.groups.push(Pid::from_raw(pid));
        let ended = timeout(BLOCK_LIMIT, child.wait()).await;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let status = ended.unwrap_or_else(|_| panic!("{place}: has not ended:\n{}", said()));
        assert!(
            status.unwrap().success(),
            "{place} in {}:\n{script}\n{}",
            folder.display(),
            said()
        );
    }

    async fn part(&mut self, guide: &str, part: &Part) {
        let started = Instant::now();
        for step in &part.steps {
            let place = format!("{guide}, line {}", step.line);
            match &step.action {
                Action::Event(name) => self.event(name, &place).await,
                Action::Run(who, script) => {
                    let folders: &[&str] = match who {
                        Who::Each => &MEMBERS,
                        Who::First => &MEMBERS[..1],
                        Who::Last => &MEMBERS[3..],
                        Who::Auditor => &[AUDITOR],
                    };
                    for folder in folders {
                        self.type_in(folder, script, &place).await;
                    }
                }
            }
        }
        println!("    {}: {} s", part.name, started.elapsed().as_secs());
    }

    /// What happens outside of the guides.
    async fn event(&self, name: &str, place: &str) {
        match name {
            "all nodes have blocks" => self.blocks().await,
            "the deposit is credited" => self.credited(DEPOSITED).await,
            "half of it is burned, and paid on Bitcoin" => self.burned_and_paid().await,
            "all members vote" => self.votes().await,
            "no batch is under way" => self.no_batch().await,
            unknown => panic!("{place}: nobody knows what happens when {unknown:?}"),
        }
    }

    async fn on_each_node(
        &self,
        what: &str,
        look: impl AsyncFn(&NodeClient) -> anyhow::Result<bool>,
    ) {
        for (name, node) in MEMBERS.iter().zip(&self.nodes) {
            let what = format!("{name}: {what}");
            let look = async || Ok(look(node).await?.then_some(()));
            wait_until(&what, LIMIT, || Ok(()), look).await.unwrap();
        }
    }

    async fn blocks(&self) {
        let look = async |node: &NodeClient| Ok(node.status().await?.head.height.get() >= 3);
        self.on_each_node("three blocks", look).await;
    }

    async fn credited(&self, sats: Sats) {
        let user = self.user.address();
        let look = async |node: &NodeClient| {
            Ok(node.eth.balance(user, BlockRef::Latest).await? == sats.to_wei())
        };
        self.on_each_node("the deposit", look).await;
    }

    async fn burned_and_paid(&self) {
        let wallet = self.bitcoin.devnet().unwrap().wallet(WALLET).await.unwrap();
        let payee = wallet.new_address_of("bech32m").await.unwrap();
        let call = Call {
            to: Some(BRIDGE_EVM_ADDRESS),
            value: BURNED.to_wei(),
            data: abi::Bridge::requestPegOutCall {
                bitcoinAddress: payee.to_string(),
            }
            .abi_encode(),
            gas: BURN_GAS,
        };
        let node = &self.nodes[0];
        let nonce = self.user.nonce(&node.eth).await.unwrap();
        let burn = self.user.sign(nonce, &call);
        node.eth.send_raw_transaction(&burn).await.unwrap();
        let look = async |node: &NodeClient| {
            let found = node.rpc.peg_out(BurnSequence::ZERO).await?;
            Ok(found.is_some_and(|found| found.stage == PegOutStage::Settled))
        };
        self.on_each_node("the burn's payment", look).await;
    }

    /// Each member's signer approves two more blocks. A node that was just started is given the time that it takes.
    async fn votes(&self) {
        let votes = "alys_approvals_total";
        for (name, node) in MEMBERS.iter().zip(&self.nodes) {
            let what = format!("{name}: its signer's votes");
            let mut before = None;
            let look = async || {
                let counted = node.metric(votes).await?;
                let before = *before.get_or_insert(counted);
                Ok((counted >= before + 2.0).then_some(()))
            };
            wait_until(&what, LIMIT, || Ok(()), look).await.unwrap();
        }
    }

    async fn no_batch(&self) {
        let look = async |node: &NodeClient| Ok(node.peg().await?.pending.is_empty());
        self.on_each_node("no batch under way", look).await;
    }
}

#[tokio::test]
async fn the_guides_are_walked() {
    let mut all = BTreeMap::new();
    for (guide, text) in GUIDES {
        for part in parts(text).unwrap() {
            let again = all.insert(part.name.clone(), (guide, part));
            assert!(again.is_none(), "two parts have one name");
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mut walk = Walk::begin(home.path()).await;
    for name in ORDER {
        let (guide, part) = all.remove(name).unwrap();
        walk.part(guide, &part).await;
    }
    assert!(all.is_empty(), "parts that nobody walks: {:?}", all.keys());
    drop(walk);
}
