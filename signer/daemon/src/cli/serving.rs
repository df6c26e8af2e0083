//! Serving, until somebody stops it.

use super::{CliError, io_error};
use crate::files::{Existing, write_durably};
use crate::server::Server;
use crate::tls::{Files, Transport};
use rustls::pki_types::UnixTime;
use serde::Serialize;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Where to listen, and whom to tell.
pub(super) struct Listening {
    pub(super) listen: SocketAddr,
    pub(super) listen_file: Option<PathBuf>,
}

/// Serves until SIGTERM or Ctrl-C; reads certificates again on SIGHUP.
pub(super) fn until_stopped(
    listening: &Listening,
    mut files: Files,
    transport: Transport,
    server: impl FnOnce(TcpListener, Transport) -> Server,
) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .map_err(io_error("cannot start the runtime"))?;
    runtime.block_on(async {
        // Before anybody hears that it serves: whoever stops it then finds it listening for that, too.
        let mut terminate = signal(SignalKind::terminate()).map_err(io_error("SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(io_error("SIGINT"))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(io_error("SIGHUP"))?;
        let listener = TcpListener::bind(listening.listen)
            .await
            .map_err(io_error(format!("cannot listen on {}", listening.listen)))?;
        announce(listening, &listener)?;
        let server = server(listener, transport.clone());
        let (stop, stopped) = watch::channel(false);
        let renewer = server.renewer();
        let serving = tokio::spawn(server.run(stopped));
        let mut transport = transport;
        let mut daily = tokio::time::interval(WARN_EVERY);
        daily.tick().await;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => match files.read() {
                    Ok(read) => {
                        transport = read;
                        renewer.renew(transport.clone());
                        tracing::info!("certificates are read again");
                    }
                    Err(error) => {
                        tracing::error!(%error, "certificates are not read again; the old ones stay");
                    }
                },
                _ = daily.tick() => {}
            }
            warn_ahead(&transport);
        }
        tracing::info!("stopping: requests under way are finished");
        stop.send_replace(true);
        serving
            .await
            .map_err(|error| io_error("the server failed")(io::Error::other(error)))
    })
}

/// How often the log warns of what ends soon.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

pub(super) fn warn_ahead(transport: &Transport) {
    for warning in transport.warnings(UnixTime::now()) {
        tracing::warn!("{warning}");
    }
}

fn announce(to: &Listening, listener: &TcpListener) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Ready {
        listening: SocketAddr,
    }
    let listening = listener
        .local_addr()
        .map_err(io_error("cannot tell the bound address"))?;
    tracing::info!(%listening, "listening");
    if let Some(path) = &to.listen_file {
        write_durably(path, format!("{listening}\n").as_bytes(), Existing::Replace)
            .map_err(io_error(format!("cannot write {}", path.display())))?;
    }
    let line = serde_json::to_string(&Ready { listening })
        .map_err(|error| io_error("cannot print")(io::Error::other(error)))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(io_error("cannot print"))
}
