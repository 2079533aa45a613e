// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's lists of services, windows and threads.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Where the kernel shows its lists. Readable by root, with debugfs mounted.
pub const DIRECTORY: &str = "/sys/kernel/debug/rpal";

/// Prints every list under its name.
pub fn print() -> io::Result<()> {
    write_lists(Path::new(DIRECTORY), &mut io::stdout().lock())
}

/// Writes every file of `directory`, in the order of their names.
fn write_lists(directory: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut files = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    for path in files {
        let name = path.file_name().unwrap_or_default();
        writeln!(out, "{}:", name.to_string_lossy())?;
        for line in fs::read_to_string(&path)?.lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_order_and_indented() {
        let directory = std::env::temp_dir().join(format!("rpal-status-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("windows"), "1 2\n").unwrap();
        fs::write(directory.join("services"), "1 echo\n2 client\n").unwrap();
        let mut out = Vec::new();
        let written = write_lists(&directory, &mut out);
        fs::remove_dir_all(&directory).unwrap();
        written.unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "services:\n  1 echo\n  2 client\nwindows:\n  1 2\n"
        );
    }

    #[test]
    fn without_the_kernel_part_there_is_an_error() {
        let missing = Path::new("/nonexistent/rpal");
        assert!(write_lists(missing, &mut Vec::new()).is_err());
    }
}
