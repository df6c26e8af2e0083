//! Each check on a prepared folder: as it should be, and not.
#![allow(clippy::unwrap_used, missing_docs)]

use alys_doctor::files::{Secrecy, file};
use alys_doctor::node::NodeConfig;
use alys_doctor::token::Label;
use alys_doctor::{
    Doctor, Finding, Host, Report, Severity, System, backup, bitcoin_node, certificates, clock,
    core_dumps, disk, firewall, listening, node, processes, provisioning, signer, swap, token,
    unit,
};
use alys_protocol::spec::{Chain, ChainSpec};
use alys_signer_core::Policy;
use alys_signer_core::policy::{Iteration, PolicyFile, PolicyFormat};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{Cursor, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const CHAIN: &str = include_str!("../../../tests/fuzz/corpus/texts/chain.toml");

/// A folder that stands for a host.
struct Fake(TempDir);

impl Fake {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let fake = Self::new();
        for (path, text) in files {
            fake.write(path, text, 0o644);
        }
        fake
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.0.path().join(absolute.trim_start_matches('/'))
    }

    fn write(&self, absolute: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(absolute);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn system(&self) -> System {
        System::below(self.0.path())
    }
}

fn worst(findings: &[Finding]) -> Severity {
    assert!(!findings.is_empty(), "a check that says nothing");
    for finding in findings.iter().filter(|it| it.severity > Severity::Fine) {
        assert!(
            !finding.why.is_empty() && !finding.remedy.is_empty(),
            "{finding:?}"
        );
    }
    findings.iter().map(|it| it.severity).max().unwrap()
}

fn expect(findings: &[Finding], severity: Severity, word: &str) {
    assert_eq!(worst(findings), severity, "{findings:?}");
    let of_it = findings.iter().filter(|it| it.severity == severity);
    assert!(
        of_it.clone().any(|it| it.found.contains(word)),
        "expected {word:?}: {findings:?}"
    );
}

fn me() -> u32 {
    nix::unistd::geteuid().as_raw()
}

const SWAPS: &str = "Filename\tType\tSize\tUsed\tPriority\n";

#[test]
fn swap_is_off_or_encrypted() {
    let on = |device: &str| format!("{SWAPS}{device} partition 1 0 -2\n");
    expect(
        &swap(&Fake::with(&[("/proc/swaps", SWAPS)]).system()),
        Severity::Fine,
        "off",
    );
    let plain = Fake::with(&[("/proc/swaps", &on("/dev/vda2"))]);
    expect(&swap(&plain.system()), Severity::Error, "/dev/vda2");
    let crypt = [
        ("/proc/swaps", &*on("/dev/dm-1")),
        ("/sys/block/dm-1/dm/uuid", "CRYPT-PLAIN-swap\n"),
    ];
    expect(
        &swap(&Fake::with(&crypt).system()),
        Severity::Fine,
        "encrypted",
    );
    let volume = [
        ("/proc/swaps", &*on("/dev/dm-1")),
        ("/sys/block/dm-1/dm/uuid", "LVM-abc\n"),
    ];
    expect(
        &swap(&Fake::with(&volume).system()),
        Severity::Error,
        "/dev/dm-1",
    );
    expect(
        &swap(&Fake::new().system()),
        Severity::Warning,
        "/proc/swaps",
    );
}

#[test]
fn core_dumps_are_off() {
    let host = |pattern, suid| {
        Fake::with(&[
            ("/proc/sys/kernel/core_pattern", pattern),
            ("/proc/sys/fs/suid_dumpable", suid),
        ])
    };
    expect(
        &core_dumps(&host("|/bin/false\n", "0\n").system()),
        Severity::Fine,
        "|/bin/false",
    );
    expect(
        &core_dumps(&host("core\n", "0\n").system()),
        Severity::Error,
        "\"core\"",
    );
    expect(
        &core_dumps(&host("|/bin/false\n", "2\n").system()),
        Severity::Error,
        "suid_dumpable",
    );
    expect(
        &core_dumps(&Fake::new().system()),
        Severity::Warning,
        "core_pattern",
    );
}

#[test]
fn the_clock_is_synchronised() {
    expect(
        &[clock(&Ok("yes\n".to_owned()))],
        Severity::Fine,
        "synchronised",
    );
    expect(&[clock(&Ok("no\n".to_owned()))], Severity::Error, "\"no\"");
    expect(
        &[clock(&Err("no bus".to_owned()))],
        Severity::Warning,
        "no bus",
    );
}

#[test]
fn there_is_space() {
    let of = |free: u64, total: u64| [disk(Path::new("/state"), Ok((free, total)), 1 << 30)];
    expect(&of(50 << 30, 100 << 30), Severity::Fine, "free");
    expect(&of((2 << 30) - 1, 10 << 30), Severity::Warning, "2047 MiB");
    expect(&of(4 << 30, 1000 << 30), Severity::Warning, "free");
    expect(&of((1 << 30) - 1, 10 << 30), Severity::Error, "1023 MiB");
    let gone = std::io::Error::other("gone");
    expect(
        &[disk(Path::new("/state"), Err(gone), 1)],
        Severity::Warning,
        "gone",
    );
    let (free, total) = alys_doctor::free_space(Path::new("/")).unwrap();
    assert!(free <= total && total > 0);
}

#[test]
fn only_expected_ports_listen() {
    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n";
    // 127.0.0.1:3000, 0.0.0.0:7700, 192.0.2.11:22, in the kernel's notation of a little-endian host; 01 is a connection.
    let line = |address: &str, state: &str| {
        format!("   0: {address} 00000000:0000 {state} 00000000:00000000\n")
    };
    let v4 = |lines: &[String]| format!("{HEAD}{}", lines.concat());
    let expected = BTreeSet::from([7700]);
    let check = |tcp: &str, tcp6: &str| {
        listening(
            &Fake::with(&[("/proc/net/tcp", tcp), ("/proc/net/tcp6", tcp6)]).system(),
            &expected,
        )
    };
    let good = v4(&[
        line("0100007F:0BB8", "0A"),
        line("00000000:1E14", "0A"),
        line("0B0200C0:0016", "01"),
    ]);
    expect(&check(&good, HEAD), Severity::Fine, "0.0.0.0:7700");
    let ssh = v4(&[line("0B0200C0:0016", "0A")]);
    expect(&check(&ssh, HEAD), Severity::Error, "192.0.2.11:22");
    let loopback6 = line("00000000000000000000000001000000:1F90", "0A");
    expect(&check(HEAD, &v4(&[loopback6])), Severity::Fine, "nothing");
    let any6 = line("00000000000000000000000000000000:1F90", "0A");
    expect(&check(HEAD, &v4(&[any6])), Severity::Error, "[::]:8080");
    expect(
        &listening(&Fake::new().system(), &expected),
        Severity::Warning,
        "/proc/net/tcp",
    );
    // The real ones, with a socket of our own.
    let own = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = own.local_addr().unwrap().port();
    expect(
        &listening(&System::this(), &BTreeSet::new()),
        Severity::Error,
        &format!(":{port}"),
    );
}

#[test]
fn the_running_signer_is_locked_in_memory() {
    let host = |lock: &str, core: &str, status: &str| {
        let limits = format!(
            "Limit                     Soft Limit           Hard Limit           Units\n\
             Max core file size        {core}                    0                    bytes\n\
             Max locked memory         {lock}            unlimited            bytes\n"
        );
        Fake::with(&[
            ("/proc/7/comm", "alys-signer\n"),
            ("/proc/7/limits", &limits),
            ("/proc/7/status", status),
        ])
    };
    let good = "VmLck:\t  1024 kB\nVmSwap:\t  0 kB\n";
    let check = |fake: &Fake| processes(&fake.system(), "alys-signer");
    expect(&check(&host("unlimited", "0", good)), Severity::Fine, "(7)");
    expect(
        &check(&host("8388608", "0", good)),
        Severity::Error,
        "8388608",
    );
    expect(
        &check(&host("unlimited", "unlimited", good)),
        Severity::Error,
        "core dumps",
    );
    expect(
        &check(&host("unlimited", "0", "VmLck: 0 kB\n")),
        Severity::Error,
        "no memory is locked",
    );
    expect(
        &check(&host("unlimited", "0", "VmLck: 9 kB\nVmSwap: 4 kB\n")),
        Severity::Error,
        "in swap",
    );
    expect(
        &check(&Fake::with(&[("/proc/8/comm", "sshd\n")])),
        Severity::Warning,
        "does not run",
    );
}

#[test]
fn files_belong_to_who_they_should() {
    let fake = Fake::new();
    let key = fake.write("/tls/signer.key", "x", 0o600);
    // Whoever can replace the temporary folder itself is not this test's question.
    let check = |path: &Path, secrecy, owners: &[u32]| -> Vec<Finding> {
        let mut findings = file(path, secrecy, owners);
        findings.retain(|it| !it.found.contains("is in /") || it.found.contains("/tls,"));
        findings
    };
    expect(
        &check(&key, Secrecy::Owner, &[me()]),
        Severity::Fine,
        "0600",
    );
    expect(
        &check(&key, Secrecy::Owner, &[me().wrapping_add(1)]),
        Severity::Error,
        "belongs to",
    );
    expect(
        &check(&fake.path("/tls/none"), Secrecy::Owner, &[me()]),
        Severity::Error,
        "No such file",
    );
    for (mode, secrecy, good) in [
        (0o640, Secrecy::Owner, false),
        (0o604, Secrecy::Owner, false),
        (0o640, Secrecy::Group, true),
        (0o660, Secrecy::Group, false),
        (0o644, Secrecy::Group, false),
        (0o644, Secrecy::Public, true),
        (0o664, Secrecy::Public, false),
    ] {
        let path = fake.write("/tls/file", "x", mode);
        let expected = if good {
            Severity::Fine
        } else {
            Severity::Error
        };
        expect(
            &check(&path, secrecy, &[me()]),
            expected,
            &format!("{mode:04o}"),
        );
    }
    std::fs::set_permissions(fake.path("/tls"), Permissions::from_mode(0o777)).unwrap();
    expect(
        &check(&key, Secrecy::Owner, &[me()]),
        Severity::Error,
        "others can write",
    );
    std::fs::set_permissions(fake.path("/tls"), Permissions::from_mode(0o1777)).unwrap();
    expect(
        &check(&key, Secrecy::Owner, &[me()]),
        Severity::Fine,
        "0600",
    );
}

/// A certificate that ends at `end` (year, month, day).
fn certificate(end: (i32, u8, u8)) -> String {
    let mut params = CertificateParams::new(vec!["signer.alys.internal".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(end.0, end.1, end.2);
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

/// 2030-01-01 in Unix seconds.
const Y2030: i64 = 1_893_456_000;

#[test]
fn certificates_are_warned_of_ahead() {
    let fake = Fake::new();
    let check = |pem: &str| {
        [certificates::certificates(
            &fake.write("/x.pem", pem, 0o644),
            Y2030,
            30,
        )]
    };
    expect(
        &check(&certificate((2030, 3, 1))),
        Severity::Fine,
        "ends in 59 days",
    );
    expect(
        &check(&certificate((2030, 1, 31))),
        Severity::Fine,
        "ends in 30 days",
    );
    expect(
        &check(&certificate((2030, 1, 30))),
        Severity::Warning,
        "ends in 29 days",
    );
    expect(
        &check(&certificate((2029, 12, 30))),
        Severity::Error,
        "ended 2 days ago",
    );
    // The first end of several counts.
    let chain = certificate((2035, 1, 1)) + &certificate((2030, 1, 11));
    expect(&check(&chain), Severity::Warning, "ends in 10 days");
    expect(&check("nothing"), Severity::Error, "found none");
    expect(
        &check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        Severity::Error,
        "x.pem",
    );
}

#[test]
fn a_backup_is_recent() {
    let fake = Fake::new();
    let record = fake.write("/record", "", 0o644);
    let later = |days: u64| SystemTime::now() + Duration::from_secs(days * 86_400);
    expect(
        &[backup::backup(&record, later(7))],
        Severity::Fine,
        "7 days",
    );
    expect(
        &[backup::backup(&record, later(9))],
        Severity::Warning,
        "9 days",
    );
    expect(
        &[backup::backup(&fake.path("/none"), later(0))],
        Severity::Warning,
        "none",
    );
}

#[test]
fn the_unit_is_as_packaged() {
    let unit_file = "/usr/lib/systemd/system/alys-signer.service";
    let check = |files: &[(&str, &str)]| {
        unit::unit(
            &Fake::with(files).system(),
            "alys-signer.service",
            unit::SIGNER_UNIT,
        )
    };
    let drop_in = "/etc/systemd/system/alys-signer.service.d/x.conf";
    expect(
        &check(&[(unit_file, unit::SIGNER_UNIT)]),
        Severity::Fine,
        "as packaged",
    );
    expect(&check(&[]), Severity::Error, "no unit");
    for node in [
        "../../bundles/signer/node.conf",
        "../../bundles/signer/passphrase.conf",
    ] {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(node))
                .unwrap();
        expect(
            &check(&[(unit_file, unit::SIGNER_UNIT), (drop_in, &text)]),
            Severity::Fine,
            "x.conf",
        );
    }
    for (weaker, word) in [
        (
            "[Service]\nNoNewPrivileges=no\n",
            "NoNewPrivileges=yes, found no",
        ),
        (
            "[Service]\nLimitMEMLOCK=8M\n",
            "LimitMEMLOCK=infinity, found 8M",
        ),
        ("[Service]\nLimitCORE=infinity\n", "LimitCORE=0"),
        ("[Service]\nSystemCallFilter=\n", "SystemCallFilter="),
        ("[Service]\nSystemCallFilter=@raw-io\n", "@raw-io"),
        ("[Service]\nUser=root\n", "User=alys-signer, found root"),
        ("[Service]\nIPAddressDeny=\n", "IPAddressDeny=any"),
    ] {
        expect(
            &check(&[(unit_file, unit::SIGNER_UNIT), (drop_in, weaker)]),
            Severity::Warning,
            word,
        );
    }
    // In a section that is none of the service's it changes nothing, nor in a comment.
    let harmless = "[Unit]\nUser=root\n[Service]\n# User=root\n";
    expect(
        &check(&[(unit_file, unit::SIGNER_UNIT), (drop_in, harmless)]),
        Severity::Fine,
        "x.conf",
    );
    // A unit of the administrator's in place of the package's.
    let own = "[Service]\nExecStart=/usr/bin/alys-signer\n";
    let both = [
        (unit_file, unit::SIGNER_UNIT),
        ("/etc/systemd/system/alys-signer.service", own),
    ];
    expect(&check(&both), Severity::Warning, "found nothing");
}

fn ruleset(change: impl FnOnce(&mut Vec<Value>)) -> Result<String, String> {
    let chain = |name: &str| json!({"chain": {"name": name, "hook": name, "policy": "drop"}});
    let set = |name: &str, elements: Value| json!({"set": {"name": name, "elem": elements}});
    let mut entries = vec![chain("input"), chain("forward"), chain("output")];
    entries.push(set("signer_port", json!([7700])));
    entries.push(set("nodes4", json!(["192.0.2.10"])));
    entries.push(json!({"set": {"name": "nodes6"}}));
    for _ in 0..firewall::INPUT_ACCEPTS {
        entries.push(json!({"rule": {"chain": "input", "expr": [{"accept": null}]}}));
    }
    change(&mut entries);
    Ok(json!({"nftables": entries}).to_string())
}

#[test]
fn the_firewall_lets_in_the_node_alone() {
    let check = |said: Result<String, String>| firewall::firewall(&said, 7700);
    expect(&check(ruleset(|_| {})), Severity::Fine, "192.0.2.10");
    expect(
        &check(Err("no table".to_owned())),
        Severity::Error,
        "not loaded",
    );
    expect(&check(Ok("[]".to_owned())), Severity::Error, "no JSON");
    let accepting = ruleset(|it| it[0]["chain"]["policy"] = json!("accept"));
    expect(&check(accepting), Severity::Error, "chain input");
    expect(
        &check(ruleset(|it| drop(it.remove(2)))),
        Severity::Error,
        "chain output",
    );
    expect(
        &check(ruleset(|it| it[3]["set"]["elem"] = json!([7700, 22]))),
        Severity::Error,
        "signer_port",
    );
    expect(
        &check(ruleset(|it| it[4]["set"]["elem"] = json!([]))),
        Severity::Error,
        "no node",
    );
    let broad = json!([{"prefix": {"addr": "0.0.0.0", "len": 0}}]);
    expect(
        &check(ruleset(|it| it[4]["set"]["elem"] = broad)),
        Severity::Error,
        "single addresses",
    );
    let more = json!({"rule": {"chain": "input", "expr": [{"accept": null}]}});
    expect(
        &check(ruleset(|it| it.push(more))),
        Severity::Error,
        "packaged rules",
    );
}

#[test]
fn the_tokens_name_fits_one_slot() {
    let uri = "pkcs11:token=alice;object=seal?pin-source=file:/pin"
        .parse()
        .unwrap();
    let label = |label: &str, serial: &str| Label {
        label: label.to_owned(),
        serial: serial.to_owned(),
        locked: false,
    };
    let check = |tokens| [token::unique(&uri, &tokens)];
    expect(
        &check(Ok(vec![label("alice", "1"), label("bob", "2")])),
        Severity::Fine,
        "serial 1",
    );
    expect(
        &check(Ok(vec![label("alice", "1"), label("alice", "2")])),
        Severity::Error,
        "found 2 of 2",
    );
    expect(
        &check(Ok(vec![label("bob", "2")])),
        Severity::Error,
        "found 0 of 1",
    );
    expect(
        &check(Err("no module".to_owned())),
        Severity::Error,
        "no module",
    );
    let locked = Label {
        locked: true,
        ..label("alice", "1")
    };
    expect(&check(Ok(vec![locked])), Severity::Error, "locked");
    assert!(token::tokens(Path::new("/nowhere/libpkcs11.so")).is_err());
    let soft = Fake::new().write("/lib/libsofthsm2.so", "x", 0o644);
    expect(
        &token::module(&soft, &[me()])[..],
        Severity::Error,
        "No such file",
    );
}

/// A signer's folder that is as it should be, but for the counter's filesystem. Officers' signatures are real.
fn signer_folder(fake: &Fake, counter: &str) -> PathBuf {
    let spec: ChainSpec = toml::from_str(CHAIN).unwrap();
    let chain = Chain::new(spec).unwrap();
    let officers: Vec<_> = (0..3)
        .map(|_| minisign::KeyPair::generate_unencrypted_keypair().unwrap())
        .collect();
    let policy = PolicyFile {
        format: PolicyFormat::V1,
        chain_id: chain.id(),
        iteration: Iteration::new(4),
        policy: Policy::of_chain(&chain),
    };
    let policy = toml::to_string(&policy).unwrap();
    for (name, keys) in ["ann", "ben"].iter().zip(&officers) {
        let signature =
            minisign::sign(Some(&keys.pk), &keys.sk, Cursor::new(&policy), None, None).unwrap();
        fake.write(
            &format!("policy.toml.{name}.minisig"),
            &signature.into_string(),
            0o644,
        );
    }
    fake.write("policy.toml", &policy, 0o644);
    fake.write("chain.toml", CHAIN, 0o644);
    fake.write("state.redb", "", 0o600);
    fake.write("counter", "0", 0o600);
    let keys: Vec<String> = officers.iter().map(|keys| keys.pk.to_base64()).collect();
    let text = format!(
        "chain_spec = 'chain.toml'\nkeys = 'keys.sealed'\nstate = 'state.redb'\npolicy = 'policy.toml'\n\
         listen = '127.0.0.1:7700'\n[tls]\ncertificate = 's.pem'\nkey = 's.key'\nclient_ca = 'c.pem'\n{counter}\n\
         [officers]\nthreshold = 2\nkeys = {keys:?}\n"
    );
    fake.write("signer.toml", &text, 0o644)
}

#[test]
fn the_signers_files_fit_together() {
    let fake = Fake::new();
    let path = signer_folder(&fake, "");
    let check =
        |other: Option<&Path>| signer::consistent(&signer::configuration(&path).unwrap(), other);
    expect(
        &check(None),
        Severity::Fine,
        "iteration 4, signed by 2 officers",
    );
    let same = fake.write("node-chain.toml", CHAIN, 0o644);
    expect(&check(Some(&same)), Severity::Fine, "both have digest");

    let other = CHAIN.replacen("min_sats = ", "min_sats = 1", 1);
    assert_ne!(other, CHAIN);
    let other = fake.write("other.toml", &other, 0o644);
    expect(&check(Some(&other)), Severity::Error, "digest");

    let ben = fake.path("policy.toml.ben.minisig");
    let signature = std::fs::read_to_string(&ben).unwrap();
    std::fs::remove_file(&ben).unwrap();
    expect(&check(None), Severity::Error, "quorum");
    fake.write("policy.toml.ben.minisig", &signature, 0o644);
    let policy = std::fs::read_to_string(fake.path("policy.toml")).unwrap();
    fake.write(
        "policy.toml",
        &policy.replace("iteration = 4", "iteration = 5"),
        0o644,
    );
    expect(&check(None), Severity::Error, "signature");

    fake.write("chain.toml", "chain_id = 1\n", 0o644);
    expect(&check(None), Severity::Error, "chain.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    fake.write("signer.toml", &text.replace("listen =", "listn ="), 0o644);
    expect(
        &[signer::configuration(&path).unwrap_err()],
        Severity::Error,
        "listn",
    );
}

#[test]
fn the_counter_is_outside() {
    let counter = |table: &str| {
        let fake = Fake::new();
        let path = signer_folder(&fake, table);
        [signer::counter(&signer::configuration(&path).unwrap())]
    };
    expect(&counter(""), Severity::Warning, "none");
    let file = |path: &str| format!("[counter]\nkind = 'development-file'\npath = '{path}'\n");
    expect(
        &counter(&file("counter")),
        Severity::Error,
        "own filesystem",
    );
    // Something on a filesystem that no test's folder is on.
    expect(
        &counter(&file("/proc/version")),
        Severity::Warning,
        "another filesystem",
    );
    expect(
        &counter(&file("/nowhere/counter")),
        Severity::Error,
        "/nowhere",
    );
    let token = "[counter]\nkind = 'pkcs11'\nobject = 'alys-freshness'\n[token]\nmodule = '/m.so'\nmode = 'sealed'\n\
                 uri = 'pkcs11:token=a;object=seal?pin-source=file:/pin'\n";
    expect(&counter(token), Severity::Fine, "alys-freshness");
}

#[test]
fn the_nodes_rpc_is_on_loopback() {
    let config = |text: &str| {
        let fake = Fake::new();
        let start = "spec = 'chain.toml'\ndata_dir = 'data'\n[bitcoin]\nurl = 'http://127.0.0.1:1'\ncookie = 'c'\n";
        NodeConfig::read(&fake.write("node.toml", &format!("{start}{text}"), 0o644))
    };
    assert_eq!(
        node::open_rpc(&config("[rpc]\nlisten = '127.0.0.1:3000'\n").unwrap()),
        []
    );
    assert_eq!(node::open_rpc(&config("").unwrap()), []);
    let open = node::open_rpc(
        &config("[rpc]\nlisten = '0.0.0.0:3000'\n[execution]\nhttp = '[::]:8545'\n").unwrap(),
    );
    expect(&open, Severity::Warning, "rpc.listen is 0.0.0.0:3000");
    expect(&open, Severity::Warning, "execution.http is [::]:8545");
    assert!(
        config("[network]\nlisten = 3\n")
            .unwrap_err()
            .contains("node.toml")
    );
}

#[test]
fn the_bitcoin_node_has_what_is_needed() {
    let info = |chain: &str, pruned: Option<u64>, downloading: bool| {
        Ok(
            json!({"chain": chain, "blocks": 900, "pruneheight": pruned, "initialblockdownload": downloading}),
        )
    };
    let check = |said: Result<Value, String>| bitcoin_node::judge(&said, "signet", 100);
    expect(
        &check(info("signet", None, false)),
        Severity::Fine,
        "height 900",
    );
    expect(
        &check(info("signet", Some(101), false)),
        Severity::Fine,
        "height 900",
    );
    expect(
        &check(info("signet", Some(102), false)),
        Severity::Error,
        "below 102",
    );
    expect(
        &check(info("main", None, false)),
        Severity::Error,
        "found main",
    );
    expect(
        &check(info("signet", None, true)),
        Severity::Warning,
        "downloading",
    );
    expect(
        &check(Err("refused".to_owned())),
        Severity::Error,
        "refused",
    );
}

#[test]
fn the_bitcoin_node_is_asked_by_its_cookie() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for answer in [
            "200 OK\r\n\r\n{\"result\":{\"blocks\":7}}",
            "401 Unauthorized\r\n\r\n",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            // The whole request: the client waits for the answer then.
            while !head.ends_with(b"}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            heads.push(String::from_utf8(head).unwrap());
            stream
                .write_all(format!("HTTP/1.1 {answer}").as_bytes())
                .unwrap();
        }
        heads
    });
    let answer = bitcoin_node::ask(&url, "__cookie__:secret\n").unwrap();
    assert_eq!(answer["blocks"], 7);
    let error = bitcoin_node::ask(&url, "__cookie__:secret").unwrap_err();
    assert!(
        error.contains("401") && !error.contains("secret"),
        "{error}"
    );
    let heads = server.join().unwrap();
    assert!(
        heads[0].contains("Basic X19jb29raWVfXzpzZWNyZXQ=\r\n"),
        "{}",
        heads[0]
    );
    assert!(bitcoin_node::ask("https://127.0.0.1", "x").is_err());
}

#[test]
fn authorities_keys_are_their_owners() {
    let fake = Fake::new();
    // The folder of tests may be anybody's to write.
    let check = || -> Vec<Finding> {
        let mut findings = provisioning::keys(fake.0.path(), Y2030, 30);
        findings.retain(|it| !it.found.contains("others can write"));
        findings
    };
    expect(&check(), Severity::Warning, "no *.key");
    fake.write("signer-ca/ca.key", "x", 0o600);
    fake.write("signer-ca/ca.pem", &certificate((2040, 1, 1)), 0o644);
    expect(&check(), Severity::Fine, "ca.key");
    fake.write("officers/ann.key", "x", 0o644);
    expect(&check(), Severity::Error, "ann.key has mode 0644");
    expect(
        &provisioning::keys(&fake.path("none"), Y2030, 30),
        Severity::Error,
        "none",
    );
}

#[test]
fn the_whole_report_for_each_host() {
    let fake = Fake::with(&[("/proc/swaps", SWAPS), ("/proc/net/tcp", "head\n")]);
    let config = signer_folder(&fake, "");
    for (host, expected) in [
        (Host::Signer, "policy"),
        (Host::Node, "config"),
        (Host::Provisioning, "files"),
    ] {
        let doctor = Doctor {
            host,
            config: Some(config.clone()),
            json: true,
            chain: None,
            backup_record: Some(config.clone()),
            bitcoin: false,
            expiry_days: 30,
        };
        let report = doctor.examine(&fake.system());
        assert_eq!(report.worst, Severity::Error);
        assert!(
            report.findings.iter().any(|it| it.check == expected),
            "{report}"
        );
        worst(&report.findings);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["worst"], "error");
        assert_eq!(
            json["findings"].as_array().unwrap().len(),
            report.findings.len()
        );
    }
    // What a file says cannot steer the reader's terminal.
    let text = Report::new(Host::Node, vec![Finding::fine("x", "a\u{1b}[2Jb")]).to_string();
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
