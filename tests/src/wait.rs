//! Waiting for what can be observed, with a limit, and saying what is awaited.

use anyhow::bail;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Between two lines that say what is awaited.
const SAY: Duration = Duration::from_secs(5);

/// Looks until there is an answer, and says every few seconds what is awaited and for how long.
///
/// A look that fails is a look without answer, since processes come and go; `alive` ends the wait at once.
///
/// # Errors
/// - what `alive` says, as soon as it says it;
/// - where `limit` has passed, with the last failure.
pub async fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut alive: impl FnMut() -> anyhow::Result<()>,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let mut said = started;
    loop {
        let failure = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        alive()?;
        let waited = started.elapsed();
        if waited > limit {
            match failure {
                Some(error) => bail!("{what}: not within {} s: {error:#}", limit.as_secs()),
                None => bail!("{what}: not within {} s", limit.as_secs()),
            }
        }
        if said.elapsed() >= SAY {
            said = Instant::now();
            println!("    waiting for {what} ({} s)", waited.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
}
