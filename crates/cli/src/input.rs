//! Reading what a command is given in a file.

use std::io::Read as _;
use std::path::Path;

use crate::failure::Failure;

/// What stands for standard input.
pub const STDIN: &str = "-";

/// The text of a file; `-` is standard input. `option` is what names it.
pub fn text(option: &str, file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new(STDIN) {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| Failure::config(format!("{option}: cannot read {}: {error}", file.display())))
}
