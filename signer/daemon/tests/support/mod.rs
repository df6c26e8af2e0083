//! A signer process with real certificates, real keys and a real disk, and clients of every kind.
#![allow(dead_code, reason = "each test crate uses a part")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs
)]

#[path = "../../../core/tests/fixtures/mod.rs"]
pub mod fixtures;
pub mod tokens;

use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::{
    Challenge, Reply, Request, RequestEnvelope, SignedStatement, decode_frame, encode_frame,
};
use alys_protocol::spec::Chain;
use alys_signer::keys::MemberCard;
use alys_signer::policy_file::OfficersConfig;
use alys_signer_client::role::DEFAULT_SERVER_NAME;
use alys_signer_client::{ClientConfig, Expected, Role, SignerClient, frame, pem};
use alys_signer_core::Policy;
use alys_signer_core::admin::statement::{Act, Statement};
use alys_signer_core::policy::{Iteration, PolicyFile, PolicyFormat};
use fixtures::{Card, Honest};
use minisign::KeyPair as KeyPairOfOfficer;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, date_time_ymd,
};
use rustls::pki_types::ServerName;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokens::Tokens;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const PASSPHRASE: &str = "tide-lantern-orchard-58";

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A list of revoked certificates (their serial numbers) in PEM, which lasts for years unless `ended`.
    pub fn list(&self, number: u64, revoked: &[u64], ended: bool) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(if ended { 2021 } else { 4000 }, 1, 1),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Certificate and key in PEM.
    pub fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// What provisioning issues to a client.
pub fn client_certificate(params: &mut CertificateParams, role_uri: &str) {
    params.subject_alt_names = vec![SanType::URI(role_uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

/// What provisioning issues to a signer.
pub fn server_certificate(params: &mut CertificateParams) {
    params.subject_alt_names = vec![SanType::DnsName(DEFAULT_SERVER_NAME.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
}

pub fn expired(params: &mut CertificateParams) {
    client_certificate(params, &Role::Node.uri());
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

/// Three officers, of whom two decide.
pub struct Officers(pub Vec<KeyPairOfOfficer>);

impl Officers {
    pub fn new() -> Self {
        let pair = || KeyPairOfOfficer::generate_unencrypted_keypair().unwrap();
        Self(vec![pair(), pair(), pair()])
    }

    /// The table of a signer's configuration.
    pub fn config(&self) -> String {
        let keys: Vec<String> = self.0.iter().map(|pair| pair.pk.to_base64()).collect();
        format!("[officers]\nthreshold = 2\nkeys = {keys:?}\n")
    }

    /// As a signer's configuration has them.
    pub fn table(&self) -> OfficersConfig {
        OfficersConfig {
            threshold: 2,
            keys: self.0.iter().map(|pair| pair.pk.to_base64()).collect(),
        }
    }

    /// One officer's signature.
    pub fn signature(&self, officer: usize, text: &str) -> String {
        let pair = &self.0[officer];
        let signature = minisign::sign(Some(&pair.pk), &pair.sk, text.as_bytes(), None, None);
        signature.unwrap().into_string()
    }

    /// A statement signed by some officers.
    pub fn says(&self, statement: &Statement, by: &[usize]) -> SignedStatement {
        let text = toml::to_string(statement).unwrap();
        let signatures = by.iter().map(|officer| {
            let signature = self.signature(*officer, &text).into_bytes();
            BoundedVec::new(signature).unwrap()
        });
        SignedStatement {
            signatures: BoundedVec::new(signatures.collect()).unwrap(),
            text: BoundedVec::new(text.into_bytes()).unwrap(),
        }
    }

    /// Writes a policy that the first two officers signed.
    pub fn publish(&self, folder: &Path, iteration: u64, policy: &Policy) {
        let file = PolicyFile {
            format: PolicyFormat::V1,
            chain_id: fixtures::spec(None).chain_id,
            iteration: Iteration::new(iteration),
            policy: policy.clone(),
        };
        let text = toml::to_string(&file).unwrap();
        write(&folder.join("policy.toml"), &text);
        for officer in 0..2 {
            self.sign(folder, officer, &text);
        }
    }

    pub fn sign(&self, folder: &Path, officer: usize, text: &str) {
        let signature = self.signature(officer, text);
        write(
            &folder.join(format!("policy.toml.{officer}.minisig")),
            &signature,
        );
    }
}

/// A provisioned signer; member 0 of the fixtures' federation.
pub struct Rig {
    pub directory: TempDir,
    pub clients: Authority,
    pub servers: Authority,
    pub card: MemberCard,
    pub honest: Honest,
    pub officers: Officers,
    pub tokens: Option<Tokens>,
}

/// A signer process. Killed when dropped.
pub struct Running {
    child: Child,
    pub address: String,
    pub log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; true where it ended well.
    pub fn stop(mut self) -> bool {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().success()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

pub fn write(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

const FILE_COUNTER: &str =
    "[counter]\nkind = 'development-file'\npath = 'counter'\nlease_slots = 1\n";

impl Rig {
    pub fn new() -> Self {
        Self::with_limits("")
    }

    /// `limits` is the body of the configuration's `[limits]`.
    pub fn with_limits(limits: &str) -> Self {
        Self::with(limits, FILE_COUNTER, |_| None)
    }

    /// One whose keys a token opens and whose counter is in it.
    pub fn with_token() -> Self {
        let counter = "[counter]\nkind = 'pkcs11'\nobject = 'freshness'\nlease_slots = 1\n";
        Self::with("", counter, |folder| Some(Tokens::new(folder, "sealed")))
    }

    /// `counter` is the configuration's table.
    pub fn with(limits: &str, counter: &str, tokens: impl FnOnce(&Path) -> Option<Tokens>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tokens = tokens(directory.path());
        let token = tokens.as_ref().map_or("", Tokens::config);
        let clients = Authority::new("clients");
        let servers = Authority::new("signers");
        let chain = Honest::of_four().chain;
        let officers = Officers::new();
        let path = |name: &str| directory.path().join(name);
        write(
            &path("signer.toml"),
            &format!(
                "chain_spec = 'chain.toml'\nkeys = 'keys.json'\nstate = 'state.redb'\npolicy = 'policy.toml'\n\
                 listen = '127.0.0.1:0'\nlisten_file = 'address'\nlog = 'trace'\n\
                 [tls]\ncertificate = 'signer.pem'\nkey = 'signer.key'\nclient_ca = 'clients.pem'\n\
                 {counter}{token}[limits]\n{limits}\n{}",
                officers.config()
            ),
        );
        officers.publish(directory.path(), 1, &Policy::of_chain(&chain));
        let (certificate, key) = servers.issue(server_certificate);
        write(&path("signer.pem"), &certificate);
        write(&path("signer.key"), &key);
        write(&path("clients.pem"), &clients.pem);
        write(&path("signers.pem"), &servers.pem);
        let output = command_with(&path("signer.toml"), &["init"], tokens.as_ref());
        assert!(output.status.success(), "{output:?}");
        let card: MemberCard = serde_json::from_slice(&output.stdout).unwrap();
        let spec = fixtures::spec(Some(&Card {
            bls: card.bls,
            bls_possession: card.bls_possession,
            schnorr: card.schnorr,
        }));
        write(&path("chain.toml"), &toml::to_string(&spec).unwrap());
        let rig = Self {
            honest: Honest::new(Chain::new(spec).unwrap()),
            directory,
            clients,
            servers,
            card,
            officers,
            tokens,
        };
        for role in Role::ALL {
            rig.issue(role.name(), |params| {
                client_certificate(params, &role.uri());
            });
        }
        rig
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Issues a client certificate by the right CA under a file name.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        self.issue_by(&self.clients, name, change);
    }

    pub fn issue_by(
        &self,
        authority: &Authority,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let (certificate, key) = authority.issue(change);
        write(&self.path(&format!("{name}.pem")), &certificate);
        write(&self.path(&format!("{name}.key")), &key);
    }

    pub fn start(&self) -> Running {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a process and waits until it listens or ends; what it said where it ended.
    pub fn try_start(&self) -> Result<Running, String> {
        let log = tempfile::Builder::new()
            .prefix("log")
            .tempfile_in(self.directory.path())
            .unwrap()
            .into_temp_path()
            .keep()
            .unwrap();
        let config = self.path("signer.toml");
        let mut child = spawn(&config, &["run"], &log, self.tokens.as_ref());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line.is_empty() {
            child.wait().unwrap();
            return Err(std::fs::read_to_string(&log).unwrap());
        }
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = ready["listening"].as_str().unwrap().to_owned();
        let in_file = std::fs::read_to_string(self.path("address")).unwrap();
        assert_eq!(in_file, format!("{address}\n"));
        Ok(Running {
            child,
            address,
            log,
        })
    }

    /// Runs a command that ends by itself, with the configuration `config`.
    pub fn command(&self, config: &str, arguments: &[&str]) -> Output {
        command_with(&self.path(config), arguments, self.tokens.as_ref())
    }

    /// Runs a command that asks a running signer, with the client's configuration `config`.
    pub fn client_command(&self, command: &str, config: &str) -> Output {
        Command::new(program())
            .args([command, "--client"])
            .arg(self.path(config))
            .output()
            .unwrap()
    }

    /// Adds a line to the configuration's `[tls]`.
    pub fn configure_tls(&self, line: &str) {
        let path = self.path("signer.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        write(&path, &text.replace("[tls]\n", &format!("[tls]\n{line}\n")));
    }

    pub fn client_config(&self, running: &Running, name: &str) -> ClientConfig {
        ClientConfig::new(
            running.address.clone(),
            self.path("signers.pem"),
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        )
    }

    /// What two officers say first.
    pub fn says(&self, challenge: &Challenge, act: Act) -> SignedStatement {
        let statement = Statement {
            chain_id: challenge.chain_id,
            member: challenge.member,
            number: challenge.last_statement.checked_add(1).unwrap(),
            act,
        };
        self.officers.says(&statement, &[0, 1])
    }

    pub fn expected(&self) -> Expected {
        Expected {
            chain_id: self.honest.chain.id(),
            spec: self.honest.chain.digest(),
            member: Some(alys_protocol::units::MemberId::new(0)),
        }
    }

    pub async fn client(&self, running: &Running, name: &str) -> SignerClient {
        SignerClient::connect(self.client_config(running, name), self.expected())
            .await
            .unwrap()
    }

    /// A bare TLS connection with a client certificate.
    pub async fn raw(
        &self,
        running: &Running,
        name: Option<&str>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        self.raw_by(provider, running, name, versions).await
    }

    /// The same with chosen cryptography.
    pub async fn raw_by(
        &self,
        provider: Arc<rustls::crypto::CryptoProvider>,
        running: &Running,
        name: Option<&str>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(pem::roots(&self.path("signers.pem")).unwrap());
        let config = match name {
            Some(name) => builder
                .with_client_auth_cert(
                    pem::certificates(&self.path(&format!("{name}.pem"))).unwrap(),
                    pem::private_key(&self.path(&format!("{name}.key"))).unwrap(),
                )
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        let tcp = TcpStream::connect(&running.address).await?;
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(DEFAULT_SERVER_NAME).unwrap(), tcp)
            .await
    }
}

/// Reads one reply; `None` where the connection ends instead.
pub async fn read_reply(stream: &mut TlsStream<TcpStream>) -> Option<Reply> {
    let length = frame::read_length(stream).await.ok()??;
    let body = frame::read_body(stream, length).await.ok()?;
    Some(decode_frame(&body).unwrap())
}

pub fn envelope(version: u16, request: Request) -> Vec<u8> {
    encode_frame(&RequestEnvelope { version, request }).unwrap()
}

/// The signer: cargo names it to this package's tests; to another's it lies beside them.
fn program() -> PathBuf {
    if let Some(path) = option_env!("CARGO_BIN_EXE_alys-signer") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join("alys-signer");
    assert!(
        path.is_file(),
        "expected {}: build it first",
        path.display()
    );
    path
}

fn spawn(config: &Path, arguments: &[&str], log: &Path, tokens: Option<&Tokens>) -> Child {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(log).unwrap());
    match tokens {
        Some(tokens) => tokens.of(&mut command),
        None => command.args(["--passphrase-fd", "0"]),
    };
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended before it asks.
    let _ = writeln!(stdin, "{PASSPHRASE}");
    child
}

/// Runs a command that opens no keys.
pub fn bare_command(config: &Path, arguments: &[&str]) -> Output {
    let config = ["--config", config.to_str().unwrap()];
    plain_command(&[arguments, &config].concat(), Path::new("."))
}

/// Runs a command in a folder.
pub fn plain_command(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(folder);
    command.output().unwrap()
}

/// Runs a command that ends by itself.
pub fn command(config: &Path, arguments: &[&str]) -> Output {
    command_with(config, arguments, None)
}

/// The same among tokens, with no passphrase to be had.
pub fn command_with(config: &Path, arguments: &[&str], tokens: Option<&Tokens>) -> Output {
    let log = config.with_extension("stderr");
    let child = spawn(config, arguments, &log, tokens);
    let mut output = child.wait_with_output().unwrap();
    output.stderr = std::fs::read(log).unwrap();
    output
}
