//! One child process: its log in a file, its end by its id.

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A process that was asked to stop finishes what it does first.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Lines of a log that an error shows.
const SHOWN_LINES: usize = 25;

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What to start.
#[derive(Debug, Default)]
pub struct Program<'a> {
    /// Which process this is, for people; also the log's name.
    pub name: &'a str,
    /// The program's name; it is found beside this one.
    pub program: &'a str,
    /// Its arguments. No secrets: everybody sees them.
    pub arguments: Vec<String>,
    /// What it reads from its standard input, then the end of it.
    pub input: Option<&'a [u8]>,
    /// What it finds in its environment beside what this program has.
    pub environment: Vec<(&'static str, PathBuf)>,
}

impl Process {
    /// Starts a program that logs to `logs/NAME.log`, after what is there already.
    ///
    /// # Errors
    /// - where the program is missing or cannot be started.
    pub async fn start(logs: &Path, program: Program<'_>) -> anyhow::Result<Self> {
        fs::create_dir_all(logs).with_context(|| format!("{}", logs.display()))?;
        let log = logs.join(format!("{}.log", program.name));
        let open = || -> anyhow::Result<File> {
            let file = OpenOptions::new().create(true).append(true).open(&log);
            file.with_context(|| format!("{}", log.display()))
        };
        let mut command = command(program.program)?;
        command
            .args(&program.arguments)
            .envs(program.environment)
            .stdin(if program.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(open()?)
            .stderr(open()?);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.program))?;
        if let (Some(input), Some(mut stdin)) = (program.input, child.stdin.take()) {
            stdin.write_all(input).await?;
        }
        Ok(Self {
            name: program.name.to_owned(),
            child,
            log,
        })
    }

    /// Its id, until it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// - where the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// That it runs.
    ///
    /// # Errors
    /// - where it has ended, with the end of its log.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.log_tail()),
        }
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// - where it does not end within `limit`.
    pub async fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        match timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "{} did not end within {} s:\n{}",
                self.name,
                limit.as_secs(),
                self.log_tail()
            ),
        }
    }

    /// Asks it to stop, and waits until it has; kills it where it takes too long.
    ///
    /// # Errors
    /// - where it had to be killed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        // Dropping the child kills it.
        self.wait(STOP_LIMIT).await.map(|_| ())
    }

    /// Ends it at once (`kill -9`), and waits until it is gone.
    ///
    /// # Errors
    /// - where the system does not let us.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait(STOP_LIMIT).await.map(|_| ())
    }

    /// Aborts it, and says how it ended.
    ///
    /// # Errors
    /// - where the system does not let us.
    pub async fn abort(mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGABRT)?;
        self.wait(STOP_LIMIT).await
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = self.child.id() else {
            return Ok(());
        };
        kill(Pid::from_raw(i32::try_from(pid)?), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Its whole log.
    pub fn log_text(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.len().saturating_sub(SHOWN_LINES);
        format!(
            "(the end of {})\n{}",
            self.log.display(),
            lines[shown..].join("\n")
        )
    }
}

/// Runs one of our programs to its end; what it prints on standard output.
///
/// # Errors
/// - where it is missing or does not succeed, with what it says.
pub async fn run(program: &str, arguments: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    run_with(program, arguments, Vec::new(), input).await
}

/// [`run`], with so much in its environment beside what this program has.
///
/// # Errors
/// - those of [`run`].
pub async fn run_with(
    program: &str,
    arguments: &[&str],
    environment: Vec<(&'static str, PathBuf)>,
    input: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let mut child = command(program)?
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).await?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {arguments:?}: {said}");
    }
    Ok(output.stdout)
}

/// A command for one of our programs, which lies beside this one, in a process group of its own: Ctrl-C at the terminal
/// is for the one that started it, which then stops the rest in order.
///
/// # Errors
/// - where the program was not built.
pub fn command(program: &str) -> anyhow::Result<Command> {
    let own = std::env::current_exe().context("where is this program?")?;
    let mut folder = own.parent().context("this program has no folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    let path = folder.join(program);
    if !path.is_file() {
        bail!(
            "expected {} beside this program, found none: build it first (`make build`)",
            path.display()
        );
    }
    let mut command = Command::new(path);
    command.process_group(0).kill_on_drop(true);
    // What configures this program must not configure those.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ALYS_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}
