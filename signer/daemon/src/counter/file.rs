//! A counter in a file, for development.

use super::{CounterError, OutsideCounter};
use crate::files::{Existing, write_durably};
use alys_protocol::bytes::CounterTag;
use alys_signer_core::freshness::{CounterMark, CounterValue};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Digits of the largest value, a space, a tag and a line's end; anything longer is no counter.
const MAX_BYTES: u64 = 20 + 1 + 34 + 1;

/// A decimal number and a tag in a file. Whoever puts back the whole machine puts it back, too: it protects only where its
/// filesystem is not part of the state's snapshots.
#[derive(Debug)]
pub struct FileCounter {
    path: PathBuf,
}

impl FileCounter {
    /// A counter in `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Whether the counter lies on another filesystem than `state`; both must exist.
    ///
    /// # Errors
    /// - [`CounterError::Io`] where one cannot be looked at.
    pub fn is_apart_from(&self, state: &Path) -> Result<bool, CounterError> {
        let device = |path: &Path| {
            std::fs::metadata(path)
                .map(|metadata| metadata.dev())
                .map_err(|error| CounterError::Io {
                    path: path.to_owned(),
                    error,
                })
        };
        Ok(device(&self.path)? != device(state)?)
    }

    fn io(&self, error: io::Error) -> CounterError {
        CounterError::Io {
            path: self.path.clone(),
            error,
        }
    }

    /// Excludes other processes until the file returned is dropped. The counter's own file is replaced on each write, so
    /// the lock is another one.
    fn lock(&self) -> Result<File, CounterError> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| self.io(error))?;
        lock.lock().map_err(|error| self.io(error))?;
        Ok(lock)
    }
}

impl OutsideCounter for FileCounter {
    fn description(&self) -> String {
        format!("development counter in file {}", self.path.display())
    }

    fn read(&self) -> Result<Option<CounterMark>, CounterError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.io(error))?;
        let value = std::str::from_utf8(&bytes).ok().and_then(parse);
        match value {
            Some(mark) => Ok(Some(mark)),
            None => Err(CounterError::Malformed {
                counter: self.description(),
                found: format!("{:?}", String::from_utf8_lossy(&bytes)),
            }),
        }
    }

    fn advance(&self, from: CounterMark, tag: CounterTag) -> Result<CounterMark, CounterError> {
        let _lock = self.lock()?;
        let found = self.read()?;
        if found != Some(from) {
            return Err(CounterError::Moved {
                counter: self.description(),
                expected: from,
                found: found.map_or_else(|| "no counter".to_owned(), |value| value.to_string()),
            });
        }
        let value = from.value.next().ok_or_else(|| CounterError::Exhausted {
            counter: self.description(),
        })?;
        let next = CounterMark { value, tag };
        write_durably(&self.path, line(next).as_bytes(), Existing::Replace)
            .map_err(|error| self.io(error))?;
        Ok(next)
    }

    fn create(&self) -> Result<(), CounterError> {
        let _lock = self.lock()?;
        let zero = line(CounterMark::ZERO);
        write_durably(&self.path, zero.as_bytes(), Existing::Refuse).map_err(|error| {
            match error.kind() {
                io::ErrorKind::AlreadyExists => CounterError::Exists {
                    counter: self.description(),
                },
                _other => self.io(error),
            }
        })
    }
}

fn line(mark: CounterMark) -> String {
    format!("{} {}\n", mark.value, mark.tag)
}

/// The reverse of [`line`]; nothing else is a counter.
fn parse(text: &str) -> Option<CounterMark> {
    let (value, tag) = text.strip_suffix('\n')?.split_once(' ')?;
    let mark = CounterMark {
        value: CounterValue::new(value.parse().ok()?),
        tag: tag.parse().ok()?,
    };
    (line(mark) == text).then_some(mark)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "files that a test makes need not survive a power loss"
)]
mod tests {
    use super::*;

    fn counter(directory: &tempfile::TempDir) -> FileCounter {
        FileCounter::new(directory.path().join("counter"))
    }

    #[test]
    fn it_goes_up_by_one_from_where_it_stands() {
        let directory = tempfile::tempdir().unwrap();
        let counter = counter(&directory);
        assert_eq!(counter.read().unwrap(), None);
        counter.create().unwrap();
        assert!(matches!(counter.create(), Err(CounterError::Exists { .. })));
        let zero = CounterMark::ZERO;
        let tag = CounterTag::new([5; 16]);
        let one = counter.advance(zero, tag).unwrap();
        assert_eq!((one.value.get(), one.tag), (1, tag));
        assert_eq!(counter.read().unwrap(), Some(one));
        let other = CounterMark {
            tag: CounterTag::ZERO,
            ..one
        };
        for from in [zero, other] {
            let error = counter.advance(from, tag).unwrap_err();
            assert!(
                matches!(&error, CounterError::Moved { expected, found, .. }
                    if *expected == from && *found == one.to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn of_two_instances_one_advances() {
        let directory = tempfile::tempdir().unwrap();
        counter(&directory).create().unwrap();
        let barrier = std::sync::Barrier::new(4);
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4u8)
                .map(|number| {
                    let (barrier, directory) = (&barrier, &directory);
                    scope.spawn(move || {
                        let counter = counter(directory);
                        barrier.wait();
                        let tag = CounterTag::new([number; 16]);
                        usize::from(counter.advance(CounterMark::ZERO, tag).is_ok())
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(won, 1);
        let mark = counter(&directory).read().unwrap().unwrap();
        assert_eq!(mark.value, CounterValue::new(1));
    }

    #[test]
    fn other_contents_are_an_error_and_stay() {
        let directory = tempfile::tempdir().unwrap();
        let counter = counter(&directory);
        let tag = "0x00000000000000000000000000000000";
        for text in [
            String::new(),
            "1\n".to_owned(),
            format!("1 {tag}"),
            format!("+1 {tag}\n"),
            format!("01 {tag}\n"),
            format!("-1 {tag}\n"),
            format!("one {tag}\n"),
            format!("1 {tag}\n\n"),
            format!("1  {tag}\n"),
            format!("1 {tag}00\n"),
            format!("18446744073709551616 {tag}\n"),
        ] {
            std::fs::write(&counter.path, &text).unwrap();
            assert!(
                matches!(counter.read(), Err(CounterError::Malformed { .. })),
                "{text:?}"
            );
            assert!(
                counter
                    .advance(CounterMark::ZERO, CounterTag::ZERO)
                    .is_err()
            );
            assert_eq!(std::fs::read_to_string(&counter.path).unwrap(), text);
        }
        std::fs::write(&counter.path, format!("{} {tag}\n", u64::MAX)).unwrap();
        let end = counter.read().unwrap().unwrap();
        assert!(matches!(
            counter.advance(end, CounterTag::ZERO),
            Err(CounterError::Exhausted { .. })
        ));
    }

    #[test]
    fn it_says_whether_the_state_is_on_the_same_filesystem() {
        let directory = tempfile::tempdir().unwrap();
        let counter = counter(&directory);
        counter.create().unwrap();
        assert!(!counter.is_apart_from(directory.path()).unwrap());
        assert!(counter.is_apart_from(Path::new("/proc")).unwrap());
    }
}
