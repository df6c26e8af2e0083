//! Tokens to test with. A module reads where its tokens are from the environment of its process, so that each scenario
//! runs in a process of its own: the test program again, with the name of one test.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used
)]

use alys_signer_pkcs11::{Token, TokenUri};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

pub const PIN: &str = "correct-4711";
const SO_PIN: &str = "officer-0815";
const CHILD: &str = "ALYS_PKCS11_TEST_FOLDER";
/// What a child of a scenario's process is to do.
pub const ROLE: &str = "ALYS_PKCS11_TEST_ROLE";

/// Debian's SoftHSM, or the one that `ALYS_SOFTHSM2_MODULE` names.
pub fn softhsm() -> PathBuf {
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

/// Our own module.
pub fn test_module() -> PathBuf {
    alys_test_pkcs11_module::library().expect("cargo builds it beside the tests")
}

/// The token's folder of our own module.
pub fn module_folder(folder: &Path) -> PathBuf {
    folder.join("module")
}

/// The key `native` of a signer's table `[token]`, for our own module; as `init` needs it.
pub fn native_table() -> String {
    use alys_test_pkcs11_module as module;
    format!(
        "native = {{ schnorr = {{ object = 'wallet', sign = {{ mechanism = {} }}, generate = {{ mechanism = {} }} }}, \
         bls = {{ object = 'vote', sign = {{ mechanism = {}, parameter = [0] }}, generate = {{ mechanism = {} }} }}, \
         bls_possession = {{ mechanism = {}, parameter = [1] }} }}\n",
        module::SIGN_SCHNORR,
        module::GENERATE_SCHNORR,
        module::SIGN_BLS,
        module::GENERATE_BLS,
        module::SIGN_BLS,
    )
}

/// Makes a key pair in our own module as an officer's tool does.
pub fn generate(session: &Session, number: u32, label: &str, extractable: bool) {
    let number = MechanismType::new_vendor_defined(number.into()).unwrap();
    let mechanism = VendorDefinedMechanism::new::<[u64; 0]>(number, None);
    let common = [Attribute::Label(label.into()), Attribute::Token(true)];
    let mut private = common.to_vec();
    private.push(Attribute::Extractable(extractable));
    session
        .generate_key_pair(&Mechanism::VendorDefined(mechanism), &common, &private)
        .unwrap();
}

/// Prepares `command` to run with the tokens in `folder`.
pub fn with_tokens(command: &mut Command, folder: &Path) {
    let tokens = folder.join("tokens");
    std::fs::create_dir_all(&tokens).unwrap();
    std::fs::create_dir_all(module_folder(folder)).unwrap();
    let configuration = folder.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    write(&configuration, &text);
    command
        .env("SOFTHSM2_CONF", &configuration)
        .env(alys_test_pkcs11_module::FOLDER, module_folder(folder))
        .env(CHILD, folder);
}

/// This program again, running only `test`.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}

/// The folder of this process, if it is one of [`with_tokens`].
pub fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Runs `body` in a process of its own, in an empty folder with its own tokens.
pub fn in_child(test: &str, body: impl FnOnce(&Path)) {
    if let Some(folder) = child_folder() {
        return body(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = again(test);
    with_tokens(&mut command, folder.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub fn write(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

pub fn pin_file(folder: &Path, pin: &str) -> PathBuf {
    let path = folder.join("pin");
    let new = folder.join("pin.new");
    write(&new, pin);
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&new, &path).unwrap();
    path
}

/// The module as tools of an officer use it, beside the code under test.
pub fn raw(module: &Path) -> Pkcs11 {
    let module = Pkcs11::new(module).unwrap();
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    // Our own code may have done it.
    let _ = module.initialize(arguments);
    module
}

/// Makes a token with a user PIN.
pub fn make_token(module: &Pkcs11, label: &str) -> Slot {
    let free = slots(module, |info| !info.token_initialized());
    let so_pin = AuthPin::new(SO_PIN.into());
    module.init_token(free[0], &so_pin, label).unwrap();
    let new = slots(module, |info| {
        info.label().trim_end() == label && !info.user_pin_initialized()
    });
    set_pin(module, new[0], PIN);
    new[0]
}

pub fn set_pin(module: &Pkcs11, slot: Slot, pin: &str) {
    let session = module.open_rw_session(slot).unwrap();
    session
        .login(UserType::So, Some(&AuthPin::new(SO_PIN.into())))
        .unwrap();
    session.init_pin(&AuthPin::new(pin.into())).unwrap();
    session.logout().unwrap();
}

fn slots(module: &Pkcs11, fits: impl Fn(&cryptoki::slot::TokenInfo) -> bool) -> Vec<Slot> {
    let all = module.get_slots_with_token().unwrap();
    all.into_iter()
        .filter(|slot| fits(&module.get_token_info(*slot).unwrap()))
        .collect()
}

pub fn serial(module: &Pkcs11, slot: Slot) -> String {
    let info = module.get_token_info(slot).unwrap();
    info.serial_number().trim_end().to_owned()
}

/// A session of an officer's tool, logged in.
pub fn session(module: &Pkcs11, slot: Slot) -> Session {
    let session = module.open_rw_session(slot).unwrap();
    // The code under test may be logged in already: that is per process.
    let _ = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
    session
}

pub fn uri(folder: &Path, attributes: &str) -> TokenUri {
    let pin = folder.join("pin");
    format!("pkcs11:{attributes}?pin-source=file:{}", pin.display())
        .parse()
        .unwrap()
}

/// The token with the label `alys`.
pub fn open(module: &Path, folder: &Path) -> Arc<Token> {
    // Processes that share the folder must not write it at once.
    if !folder.join("pin").exists() {
        pin_file(folder, PIN);
    }
    Token::open(module, &uri(folder, "token=alys")).unwrap()
}
