//! The guides in `docs/guides` as something that can be run: their text in steps.
//!
//! A fenced block says in its info string what it is: ` ```sh each`, ` ```sh first`, ` ```sh last` and ` ```sh auditor` are commands,
//! to be run by each member, by the first, by the last, or by the auditor; ` ```text`, ` ```console`, ` ```toml` and ` ```json` are to be read.
//! Anything else is an error, so that no command stands in a guide which nobody ever ran. Two comments are for the walk:
//! `<!-- walk: part NAME -->` begins a part, and `<!-- walk: NAME -->` is where something happens that nobody types, such as a
//! user's payment.

use thiserror::Error;

/// Who types a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Each member, one after the other.
    Each,
    /// The first member: what only one has to do.
    First,
    /// The last member: the one that bad things happen to.
    Last,
    /// The auditor, who has a folder of its own.
    Auditor,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Commands for a shell.
    Run(Who, String),
    /// Something outside of the guide, by its name.
    Event(String),
}

/// One step of a guide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line that it begins in, from 1.
    pub line: usize,
    /// What happens.
    pub action: Action,
}

/// A part of a guide, which is walked without anything in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name, unique among all guides.
    pub name: String,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// Why a text is no guide.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GuideError {
    /// A block that is neither to be run nor to be read.
    #[error(
        "line {line}: expected a block of `sh each`, `sh first`, `sh last`, `sh auditor`, `text`, `console`, `toml` or `json`, found {found:?}"
    )]
    Block {
        /// Where.
        line: usize,
        /// Its info string.
        found: String,
    },
    /// A block without end.
    #[error("line {0}: expected the end of this block, found the end of the file")]
    Open(usize),
    /// A step before the first part.
    #[error("line {0}: expected `<!-- walk: part NAME -->` before the first step")]
    NoPart(usize),
    /// A comment for the walk that is not closed in its line.
    #[error("line {0}: expected `<!-- walk: NAME -->` in one line")]
    Comment(usize),
}

/// What a line of a guide says to the walk.
fn comment(line: &str, number: usize) -> Result<Option<&str>, GuideError> {
    let Some(rest) = line.trim().strip_prefix("<!-- walk:") else {
        return Ok(None);
    };
    let said = rest
        .strip_suffix("-->")
        .ok_or(GuideError::Comment(number))?;
    Ok(Some(said.trim()))
}

/// Who runs a block with this info string; nobody where it is to be read.
fn runner(info: &str, line: usize) -> Result<Option<Who>, GuideError> {
    match info {
        "sh each" => Ok(Some(Who::Each)),
        "sh first" => Ok(Some(Who::First)),
        "sh last" => Ok(Some(Who::Last)),
        "sh auditor" => Ok(Some(Who::Auditor)),
        "text" | "console" | "toml" | "json" => Ok(None),
        found => Err(GuideError::Block {
            line,
            found: found.to_owned(),
        }),
    }
}

/// The parts of a guide.
///
/// # Errors
/// - [`GuideError`] where something in it would be left out.
pub fn parts(text: &str) -> Result<Vec<Part>, GuideError> {
    let mut parts: Vec<Part> = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let action = if let Some(said) = comment(line, number)? {
            if let Some(name) = said.strip_prefix("part ") {
                parts.push(Part {
                    name: name.to_owned(),
                    steps: Vec::new(),
                });
                continue;
            }
            Action::Event(said.to_owned())
        } else if let Some(info) = line.trim_start().strip_prefix("```") {
            let who = runner(info.trim(), number)?;
            let mut script = String::new();
            loop {
                let Some((line, _)) = lines.next() else {
                    return Err(GuideError::Open(number));
                };
                if line.trim() == "```" {
                    break;
                }
                script.push_str(line);
                script.push('\n');
            }
            let Some(who) = who else { continue };
            Action::Run(who, script)
        } else {
            continue;
        };
        let part = parts.last_mut().ok_or(GuideError::NoPart(number))?;
        part.steps.push(Step {
            line: number,
            action,
        });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn blocks_and_events_come_in_order() {
        let text = "# A guide\n<!-- walk: part one -->\n```sh each\ncp a b\n\n  mv b c\n```\n```text\nread me\n```\n\
                    <!-- walk: payment -->\n<!-- walk: part two -->\n  ```sh auditor\n  ls\n  ```\n";
        let found = parts(text).unwrap();
        let step = |line, action| Step { line, action };
        let expected = [
            Part {
                name: "one".to_owned(),
                steps: vec![
                    step(3, Action::Run(Who::Each, "cp a b\n\n  mv b c\n".to_owned())),
                    step(11, Action::Event("payment".to_owned())),
                ],
            },
            Part {
                name: "two".to_owned(),
                steps: vec![step(13, Action::Run(Who::Auditor, "  ls\n".to_owned()))],
            },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_left_out() {
        for info in ["", "sh", "sh everybody", "bash", "shell each"] {
            let text = format!("<!-- walk: part one -->\n```{info}\nls\n```\n");
            let error = parts(&text).unwrap_err();
            let found = info.to_owned();
            assert_eq!(error, GuideError::Block { line: 2, found });
        }
        assert_eq!(parts("```sh each\nls\n```\n"), Err(GuideError::NoPart(1)));
        assert_eq!(parts("```text\nls\n"), Err(GuideError::Open(1)));
        assert_eq!(parts("\n<!-- walk: this\n-->"), Err(GuideError::Comment(2)));
    }
}
