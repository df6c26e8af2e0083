//! The driver against devices in threads: real sockets, a real pseudo-terminal, the real link.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use alys_device_host::*;
use alys_protocol::bytes::SpecDigest;
use alys_protocol::units::{ChainId, MemberId};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;
use support::*;

fn put(path: &Path, text: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_paired_device_answers_and_goes_on_after_its_host_was_restarted() {
    let simulation = simulate(Flash::new(5), Program::Echoes, Button::Press);
    let pairing = paired(&simulation);
    let copy = again(simulation.folder.path(), &pairing);
    assert_eq!(copy.device(), pairing.device());
    let mut device = Device::new(settings(&simulation.path, pairing));
    assert!(!device.connected());
    for length in [0, 1, 5000, 111_000] {
        // A reply has its own, lower, limit.
        let request: Vec<u8> = (0..length).map(|place| place as u8).collect();
        if length < 65_536 {
            assert_eq!(device.request(&request).unwrap(), request);
        }
    }
    assert!(device.connected());
    assert_eq!(device.hello(), Some(&hello()));
    drop(device);
    let mut device = Device::new(settings(&simulation.path, copy));
    assert_eq!(device.request(b"again").unwrap(), b"again");
}

#[test]
fn a_device_that_loses_power_gets_the_request_again() {
    let simulation = simulate(Flash::new(5), Program::Fails(3), Button::Press);
    let pairing = paired(&simulation);
    let mut device = Device::new(settings(&simulation.path, pairing));
    let request = vec![9; 10_000];
    assert_eq!(device.request(&request).unwrap(), request);
}

#[test]
fn a_look_finds_out_whether_a_device_is_alive() {
    let simulation = simulate(Flash::new(5), Program::Echoes, Button::Press);
    let pairing = paired(&simulation);
    let mut device = Device::new(settings(&simulation.path, pairing));
    assert_eq!(device.quiet(), None);
    device.check().unwrap();
    device.check().unwrap();
    assert!(device.quiet().is_some());
    assert_eq!(device.request(b"hello").unwrap(), b"hello");
    // It loses power: the line ends, and the look after that finds it again.
    let simulation = simulate(Flash::new(5), Program::Fails(1), Button::Press);
    let pairing = paired(&simulation);
    let copy = again(simulation.folder.path(), &pairing);
    let mut settings = settings(&simulation.path, pairing);
    settings.timing.silence = Duration::ZERO;
    let mut device = Device::new(settings);
    let error = device.request(b"hello").unwrap_err();
    assert!(matches!(error, DeviceError::Silent { .. }), "{error}");
    assert!(!device.connected());
    let mut device = Device::new(support::settings(&simulation.path, copy));
    device.check().unwrap();
    assert!(device.connected());
}

#[test]
fn a_serial_line_in_raw_mode_carries_every_byte_and_has_one_user() {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    // Held open, as a cable is: a pseudo-terminal hangs up with its last user.
    let _cable = File::options().read(true).write(true).open(&path).unwrap();
    let (code, codes) = channel();
    let line = Line::open(&path, 115_200).unwrap();
    std::thread::spawn(move || {
        let mut flash = Flash::new(6);
        run(
            &mut File::from(controller),
            &mut flash,
            &mut { Program::Echoes },
            Button::Press,
            &code,
        );
    });
    let person = &mut Typist {
        codes: &codes,
        wrong: false,
    };
    let limit = Duration::from_secs(20);
    let pairing = pair(line, limit, limit, person).unwrap();
    let mut device = Device::new(settings(&path, pairing));
    let request: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    assert_eq!(device.request(&request).unwrap(), request);
    let second = Line::open(&path, 115_200).unwrap_err();
    assert!(matches!(second, DeviceError::InUse { .. }), "{second}");
    drop(device);
    let found = Line::open(&path, 115_200).and_then(|line| probe(line, limit));
    assert_eq!(found.unwrap().words.as_str(), "simulated 0.1");
}

#[test]
fn each_kind_of_absence_has_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let open = |path: &Path| Line::open(path, DEFAULT_SPEED).unwrap_err();
    let error = open(&at("nothing"));
    assert!(matches!(error, DeviceError::NoSuchPath { .. }), "{error}");
    File::create(at("file")).unwrap();
    let error = open(&at("file"));
    assert!(matches!(error, DeviceError::NotALine { .. }), "{error}");
    let error = open(Path::new("/dev/null"));
    assert!(matches!(error, DeviceError::NotALine { .. }), "{error}");
    // Accepts, by its queue, and never says a word.
    let _listener = UnixListener::bind(at("mute")).unwrap();
    let line = Line::open(&at("mute"), DEFAULT_SPEED).unwrap();
    let error = probe(line, SHORT).unwrap_err();
    assert!(matches!(error, DeviceError::Silent { .. }), "{error}");
    // Says something else.
    let listener = UnixListener::bind(at("modem")).unwrap();
    std::thread::spawn(move || {
        let mut streams = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"AT+CGMI\r\n\0OK\0").unwrap();
            streams.push(stream);
        }
    });
    let line = Line::open(&at("modem"), DEFAULT_SPEED).unwrap();
    let error = probe(line, SHORT).unwrap_err();
    assert!(matches!(error, DeviceError::NotADevice { .. }), "{error}");
    let listed = list(folder.path(), DEFAULT_SPEED, SHORT).unwrap();
    assert_eq!(listed.len(), 3);
    assert!(
        list(&at("nothing"), DEFAULT_SPEED, SHORT)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_line_that_ends_is_an_error_in_time_and_a_good_one_at_the_same_path_is_used() {
    let simulation = simulate(Flash::new(5), Program::Echoes, Button::Press);
    let pairing = paired(&simulation);
    let copy = again(simulation.folder.path(), &pairing);
    let gone = simulation.folder.path().join("gone");
    std::fs::rename(&simulation.path, &gone).unwrap();
    let mut device = Device::new(settings(&simulation.path, copy));
    let error = device.request(b"hello").unwrap_err();
    assert!(matches!(error, DeviceError::NoSuchPath { .. }), "{error}");
    std::fs::rename(&gone, &simulation.path).unwrap();
    assert_eq!(device.request(b"hello").unwrap(), b"hello");
}

#[test]
fn each_wrong_device_has_its_own_words() {
    let error = asked_of(|flash| flash.host = None, |_| {});
    assert!(matches!(error, DeviceError::NotPaired { .. }), "{error}");
    let stranger = Flash::new(9).key().public().unwrap();
    let error = asked_of(|flash| flash.host = Some(stranger), |_| {});
    assert!(
        matches!(error, DeviceError::PairedWithAnother { .. }),
        "{error}"
    );
    let error = asked_of(|flash| flash.key = [6; 32], |_| {});
    assert!(matches!(error, DeviceError::OtherDevice { .. }), "{error}");
    let error = asked_of(|flash| flash.hello.protocol += 1, |_| {});
    assert!(
        matches!(error, DeviceError::OtherProtocol { .. }),
        "{error}"
    );
    let error = asked_of(|flash| flash.hello.provisioned = None, |_| {});
    assert!(
        matches!(error, DeviceError::NotProvisioned { .. }),
        "{error}"
    );
    let expect = |change: fn(&mut Expected)| {
        move |settings: &mut Settings| change(settings.expected.as_mut().unwrap())
    };
    let error = asked_of(|_| {}, expect(|it| it.chain_id = ChainId::new(1)));
    assert!(matches!(error, DeviceError::WrongChain { .. }), "{error}");
    let error = asked_of(|_| {}, expect(|it| it.spec = SpecDigest::ZERO));
    assert!(matches!(error, DeviceError::WrongSpec { .. }), "{error}");
    let error = asked_of(|_| {}, expect(|it| it.member = Some(MemberId::new(1))));
    assert!(matches!(error, DeviceError::WrongMember { .. }), "{error}");
}

#[test]
fn a_device_that_does_not_answer_in_time_is_busy_and_one_without_memory_says_so() {
    let ask = |program| {
        let simulation = simulate(Flash::new(5), program, Button::Press);
        let pairing = paired(&simulation);
        let mut settings = settings(&simulation.path, pairing);
        settings.timing.answer = Duration::from_secs(2);
        Device::new(settings).request(b"hello").unwrap_err()
    };
    let error = ask(Program::Computes);
    assert!(matches!(error, DeviceError::Busy { .. }), "{error}");
    let error = ask(Program::NoMemory);
    assert!(matches!(error, DeviceError::Rejected { .. }), "{error}");
    let simulation = simulate(Flash::new(5), Program::Echoes, Button::Press);
    let pairing = paired(&simulation);
    let mut device = Device::new(settings(&simulation.path, pairing));
    let error = device.request(&vec![0; 300_001]).unwrap_err();
    assert!(error.to_string().contains("300000"), "{error}");
    assert_eq!(device.request(b"next").unwrap(), b"next");
}

#[test]
fn a_wrong_code_a_refusal_and_a_button_that_nobody_presses_pair_nobody() {
    let try_pair = |button, wrong| {
        let simulation = simulate(Flash::new(5), Program::Echoes, button);
        let line = Line::open(&simulation.path, DEFAULT_SPEED).unwrap();
        let person = &mut Typist {
            codes: &simulation.codes,
            wrong,
        };
        let silence = Duration::from_secs(20);
        let wait = if button == Button::Nothing {
            SHORT
        } else {
            silence
        };
        pair(line, silence, wait, person).unwrap_err()
    };
    let error = try_pair(Button::Press, true);
    assert!(matches!(error, DeviceError::WrongCode), "{error}");
    let error = try_pair(Button::Refuse, false);
    assert!(matches!(error, DeviceError::Denied), "{error}");
    let error = try_pair(Button::Nothing, false);
    assert!(matches!(error, DeviceError::NoButton { .. }), "{error}");
    let mut closed = Flash::new(5);
    closed.pairing_open = false;
    let simulation = simulate(closed, Program::Echoes, Button::Press);
    let line = Line::open(&simulation.path, DEFAULT_SPEED).unwrap();
    let person = &mut Typist {
        codes: &simulation.codes,
        wrong: false,
    };
    let limit = Duration::from_secs(20);
    let error = pair(line, limit, limit, person).unwrap_err();
    assert!(
        matches!(error, DeviceError::PairingClosed { .. }),
        "{error}"
    );
}

#[test]
fn a_pairing_file_is_private_and_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let simulation = simulate(Flash::new(5), Program::Echoes, Button::Press);
    let pairing = paired(&simulation);
    again(simulation.folder.path(), &pairing);
    let path = simulation.folder.path().join("pairing.toml");
    let mut text = String::new();
    File::open(&path)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let secret = text.split('"').nth(3).unwrap().to_owned();
    assert!(!format!("{pairing:?}").contains(&secret));
    for (from, to) in [
        ("format = 1", "format = 2"),
        ("device =", "devise ="),
        ("host_key = \"", "host_key = \"0"),
        ("host_key = \"", "host_key = "),
    ] {
        put(&path, &text.replace(from, to));
        let error = PairingFile::read(&path).unwrap_err().to_string();
        assert!(!error.contains(&secret[..16]), "{error}");
    }
    put(&path, &text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = PairingFile::read(&path).unwrap_err().to_string();
    assert!(error.contains("640"), "{error}");
}
