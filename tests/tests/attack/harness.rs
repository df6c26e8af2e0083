//! Runs attacks side by side and counts them. Speaks as much of the standard test harness's language as `cargo test`
//! and `cargo nextest` need.

use std::cell::Cell;
use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// One attack: it panics where the signer gives way, or no longer serves honest requests.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

/// Each wait for the signer's disk, so that more of them than cores run well side by side.
const THREADS: usize = 4;

thread_local! {
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

/// Counts a hostile request that was refused by the rule that it had to be refused by.
pub(crate) fn count_refused() {
    REFUSED.set(REFUSED.get() + 1);
}

struct Arguments {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
    threads: usize,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Self {
            filters: Vec::new(),
            skipped: Vec::new(),
            exact: false,
            list: false,
            ignored: false,
            threads: THREADS,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let (key, inline) = match argument.split_once('=') {
                Some((key, value)) if key.starts_with("--") => (key.to_owned(), Some(value)),
                _ => (argument.clone(), None),
            };
            let mut value = || {
                inline
                    .map(str::to_owned)
                    .or_else(|| arguments.next())
                    .ok_or(format!("{key}: expected a value, found none"))
            };
            match key.as_str() {
                "--list" => parsed.list = true,
                "--ignored" => parsed.ignored = true,
                "--exact" => parsed.exact = true,
                "--skip" => parsed.skipped.push(value()?),
                "--test-threads" => {
                    let text = value()?;
                    parsed.threads =
                        text.parse()
                            .ok()
                            .filter(|threads| *threads > 0)
                            .ok_or(format!(
                                "--test-threads: expected 1 or more, found {text:?}"
                            ))?;
                }
                "--format" | "--color" => drop(value()?),
                "--nocapture" | "--no-capture" | "--quiet" | "-q" | "--show-output"
                | "--include-ignored" => {}
                other if other.starts_with('-') => {
                    return Err(format!("expected an option of a test, found {other:?}"));
                }
                _filter => parsed.filters.push(argument),
            }
        }
        Ok(parsed)
    }

    fn admits(&self, name: &str) -> bool {
        let matches = |filter: &String| match self.exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        // None of the attacks is ignored.
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skipped.iter().any(matches)
    }
}

/// What the command line asks for.
pub(crate) fn run(attacks: &[Attack]) -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let chosen: Vec<&Attack> = attacks
        .iter()
        .filter(|attack| arguments.admits(attack.name))
        .collect();
    if arguments.list {
        for attack in &chosen {
            println!("{}: test", attack.name);
        }
        return ExitCode::SUCCESS;
    }
    report(&chosen, arguments.threads)
}

fn report(attacks: &[&Attack], threads: usize) -> ExitCode {
    let started = Instant::now();
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let successful = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _worker in 0..threads.min(attacks.len()) {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match of_its_own(attack) {
                        Some(count) => {
                            refused.fetch_add(count, Ordering::Relaxed);
                            println!("refused {} ({count} hostile requests)", attack.name);
                        }
                        None => {
                            println!("SUCCESSFUL {}", attack.name);
                            successful.lock().unwrap().push(attack.name);
                        }
                    }
                }
            });
        }
    });
    let (seconds, count) = (started.elapsed().as_secs(), attacks.len());
    let successful = successful.into_inner().unwrap();
    let requests = refused.into_inner();
    println!();
    if successful.is_empty() {
        println!(
            "{count} attacks, none successful: {requests} hostile requests, each refused by its rule, and honest ones \
             served by the same signers after them ({seconds} s)"
        );
        return ExitCode::SUCCESS;
    }
    println!(
        "{count} attacks, {} SUCCESSFUL: {}",
        successful.len(),
        successful.join(", ")
    );
    ExitCode::FAILURE
}

/// Runs an attack on a thread under its name, which a panic's message shows; the hostile requests that were refused, or
/// none where it was successful.
fn of_its_own(attack: &Attack) -> Option<usize> {
    let run = attack.run;
    let thread = thread::Builder::new().name(attack.name.to_owned());
    let ended = thread
        .spawn(move || {
            panic::catch_unwind(run).ok()?;
            Some(REFUSED.get())
        })
        .unwrap()
        .join();
    ended.ok().flatten()
}
