//! The signer's firewall in network namespaces: what the rules let through, and what `alys-doctor` says about them.
//!
//! Needs root, `ip` and `nft`. Where that is not to be had it fails, unless `ALYS_WITHOUT_NAMESPACES=1` permits.
#![allow(clippy::unwrap_used, missing_docs)]

use alys_doctor::Severity;
use alys_doctor::firewall::firewall;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

const PORT: u16 = 7700;
const OTHER_PORT: u16 = 7701;
const SIGNER: &str = "192.0.2.11";
const NODE: &str = "192.0.2.10";
const STRANGER: &str = "192.0.2.12";
const SIGNER6: &str = "2001:db8::11";
const NODE6: &str = "2001:db8::10";
const STRANGER6: &str = "2001:db8::12";

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Three machines on one wire; gone with what is in them when dropped.
struct Net {
    names: Vec<String>,
}

impl Net {
    fn new() -> Self {
        let name = |host: &str| format!("alys-{}-{host}", std::process::id());
        let net = Self {
            names: ["wire", "signer", "node", "stranger"].map(name).to_vec(),
        };
        for name in &net.names {
            run("ip", &format!("netns add {name}"));
            run("ip", &format!("-n {name} link set lo up"));
        }
        let wire = net.at("wire");
        run("ip", &format!("-n {wire} link add br0 type bridge"));
        run("ip", &format!("-n {wire} link set br0 up"));
        for (host, v4, v6) in [
            ("signer", SIGNER, SIGNER6),
            ("node", NODE, NODE6),
            ("stranger", STRANGER, STRANGER6),
        ] {
            let at = net.at(host);
            run(
                "ip",
                &format!("-n {wire} link add {host} type veth peer name eth0 netns {at}"),
            );
            run("ip", &format!("-n {wire} link set {host} master br0 up"));
            run("ip", &format!("-n {at} addr add {v4}/24 dev eth0"));
            // Without duplicate address detection it can be used at once.
            run("ip", &format!("-n {at} addr add {v6}/64 dev eth0 nodad"));
            run("ip", &format!("-n {at} link set eth0 up"));
        }
        net
    }

    fn at(&self, host: &str) -> &str {
        self.names.iter().find(|name| name.ends_with(host)).unwrap()
    }

    /// Runs `work` in a thread that is in a host's namespace.
    fn on<T: Send + 'static>(&self, host: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = File::open(Path::new("/run/netns").join(self.at(host))).unwrap();
        let enter = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::spawn(enter).join().unwrap()
    }

    fn nft(&self, file: &Path) {
        run(
            "ip",
            &format!("netns exec {} nft -f {}", self.at("signer"), file.display()),
        );
    }

    fn table(&self) -> Result<String, String> {
        let list = format!(
            "netns exec {} nft --json list table inet alys_signer",
            self.at("signer")
        );
        Ok(run("ip", &list))
    }

    fn serve(&self, address: String, port: u16) {
        let listener = self.on("signer", move || {
            TcpListener::bind((address.as_str(), port)).unwrap()
        });
        // Ends with the process of this test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|mut stream| stream.write_all(b"hello"));
            }
        });
    }

    /// What becomes of a connection from a host.
    fn calls(&self, from: &str, to: &str, port: u16, patience: Duration) -> Result<(), ErrorKind> {
        let to = SocketAddr::new(to.parse().unwrap(), port);
        self.on(from, move || {
            let mut stream = TcpStream::connect_timeout(&to, patience).map_err(|it| it.kind())?;
            stream.set_read_timeout(Some(patience)).unwrap();
            let mut greeting = [0; 5];
            stream.read_exact(&mut greeting).map_err(|it| it.kind())?;
            assert_eq!(&greeting, b"hello");
            Ok(())
        })
    }

    fn reaches(&self, from: &str, to: &str, port: u16) {
        assert_eq!(
            self.calls(from, to, port, Duration::from_secs(20)),
            Ok(()),
            "{from} to {to}:{port}"
        );
    }

    /// Dropped without an answer: a refusal would say that somebody is there.
    fn does_not_reach(&self, from: &str, to: &str, port: u16) {
        let outcome = self.calls(from, to, port, Duration::from_millis(700));
        assert_eq!(outcome, Err(ErrorKind::TimedOut), "{from} to {to}:{port}");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// The packaged rules with the addresses' file in another place, so that the machine's own is not touched.
fn rules(folder: &Path, addresses: &str) -> std::path::PathBuf {
    let packaged = include_str!("../../bundles/signer/signer.nft");
    let template = include_str!("../../bundles/signer/firewall.nft");
    let file = folder.join("firewall.nft");
    let text = packaged.replace("/etc/alys-signer/firewall.nft", file.to_str().unwrap());
    assert_ne!(text, packaged);
    File::create(&file)
        .unwrap()
        .write_all(format!("{template}\n{addresses}").as_bytes())
        .unwrap();
    let rules = folder.join("signer.nft");
    File::create(&rules)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    rules
}

fn possible() -> bool {
    let probe = format!("alys-probe-{}", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &probe]).output();
    let nft = Command::new("nft").arg("--version").output();
    let _ = Command::new("ip").args(["netns", "del", &probe]).output();
    let why = match (&made, &nft) {
        (Ok(made), Ok(_)) if made.status.success() => return true,
        (Ok(made), Ok(_)) => String::from_utf8_lossy(&made.stderr).into_owned(),
        (made, nft) => format!("ip: {made:?}; nft: {nft:?}"),
    };
    let permitted = std::env::var_os("ALYS_WITHOUT_NAMESPACES").is_some_and(|it| it == "1");
    assert!(
        permitted,
        "expected root, ip and nft to make network namespaces ({why}); ALYS_WITHOUT_NAMESPACES=1 leaves this test out"
    );
    println!("NOT TESTED, as ALYS_WITHOUT_NAMESPACES permits: {why}");
    false
}

fn errors(net: &Net, port: u16) -> Vec<String> {
    let findings = firewall(&net.table(), port);
    let wrong = findings
        .into_iter()
        .filter(|it| it.severity == Severity::Error);
    wrong.map(|it| it.found).collect()
}

#[test]
fn only_the_node_reaches_the_signers_port() {
    if !possible() {
        return;
    }
    let net = Net::new();
    let folder = tempfile::tempdir().unwrap();
    for address in [SIGNER, SIGNER6] {
        net.serve(address.to_owned(), PORT);
        net.serve(address.to_owned(), OTHER_PORT);
    }
    // Without rules everybody reaches everything: what follows is the rules' doing.
    for (from, to) in [
        ("node", SIGNER),
        ("stranger", SIGNER),
        ("node", SIGNER6),
        ("stranger", SIGNER6),
    ] {
        net.reaches(from, to, PORT);
        net.reaches(from, to, OTHER_PORT);
    }

    // As installed: nobody.
    net.nft(&rules(folder.path(), ""));
    net.does_not_reach("node", SIGNER, PORT);
    net.does_not_reach("node", SIGNER6, PORT);
    assert!(errors(&net, PORT).iter().any(|it| it.contains("no node")));

    // Configured, and loaded twice, as a reload does.
    let configured = format!(
        "add element inet alys_signer nodes4 {{ {NODE} }}\nadd element inet alys_signer nodes6 {{ {NODE6} }}\n"
    );
    let configured = rules(folder.path(), &configured);
    net.nft(&configured);
    net.nft(&configured);
    for (to, port) in [(SIGNER, PORT), (SIGNER6, PORT)] {
        net.reaches("node", to, port);
        net.does_not_reach("stranger", to, port);
    }
    for from in ["node", "stranger"] {
        net.does_not_reach(from, SIGNER, OTHER_PORT);
        net.does_not_reach(from, SIGNER6, OTHER_PORT);
    }
    assert_eq!(errors(&net, PORT), Vec::<String>::new());
    assert!(
        errors(&net, OTHER_PORT)
            .iter()
            .any(|it| it.contains("signer_port"))
    );

    // Out goes nothing but to itself.
    net.reaches("signer", SIGNER, OTHER_PORT);
    let listener = net.on("node", || TcpListener::bind((NODE, 9000)).unwrap());
    let outcome = net.calls("signer", NODE, 9000, Duration::from_secs(20));
    assert!(
        matches!(outcome, Err(kind) if kind != ErrorKind::TimedOut),
        "{outcome:?}"
    );
    drop(listener);

    // What others add to the table is seen.
    let add = "add rule inet alys_signer input tcp dport 22 accept";
    run("ip", &format!("netns exec {} nft {add}", net.at("signer")));
    assert!(
        errors(&net, PORT)
            .iter()
            .any(|it| it.contains("packaged rules"))
    );
}
