//! The examples in the documents do what the documents say.
//!
//! A block ` ```yaml ` is a whole configuration and has no problems. A block with `file=NAME` is a
//! file. A block ` ```console ` has commands behind `$ ` and what they print.

use std::path::Path;
use std::process::Command;

use super::{check, note, read};

const DOCS: [&str; 2] = ["README.md", "GUIDE.md"];

struct Block {
    /// What stands behind the three backquotes.
    info: String,
    /// The line of its first line.
    line: usize,
    text: String,
}

#[test]
fn configurations_have_no_problems() {
    check(|problems| {
        for path in DOCS {
            for block in blocks(path).iter().filter(|block| block.info.starts_with("yaml")) {
                let set = |_: &str| Some("set".to_owned());
                let loaded = skald::config::load(block.text.as_bytes(), path, &set);
                if !loaded.report.problems().is_empty() {
                    note(problems, path, block.line, &loaded.report.render(false));
                }
            }
        }
    });
}

#[test]
fn commands_print_what_is_shown() {
    for path in DOCS {
        let folder = tempfile::tempdir().unwrap();
        for block in blocks(path) {
            if let Some((_, name)) = block.info.split_once(" file=") {
                fs_err::write(folder.path().join(name), &block.text).unwrap();
            }
            if block.info == "console" {
                let shown = block.text.trim_end();
                let printed = run(folder.path(), shown);
                assert!(printed == shown, "{path}:{}: this is printed:\n{printed}", block.line);
            }
        }
    }
}

/// Runs the commands of a block; gives the block as it should be.
fn run(folder: &Path, shown: &str) -> String {
    let mut printed = String::new();
    for command in shown.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let words = command.strip_prefix("skald ").expect("only skald is run").split(' ');
        let mut skald = Command::new(env!("CARGO_BIN_EXE_skald"));
        let output = skald.args(words).current_dir(folder).output().unwrap();
        printed += &format!("$ {command}\n");
        printed += &String::from_utf8(output.stdout).unwrap();
        printed += &String::from_utf8(output.stderr).unwrap();
    }
    printed.trim_end().to_owned()
}

fn blocks(path: &str) -> Vec<Block> {
    let mut blocks = vec![];
    let mut open: Option<Block> = None;
    for (line, number) in read(path).lines().zip(1..) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block { info: info.to_owned(), line: number + 1, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{path}: a block is not closed");
    blocks
}
