//! The form of the figures: a table a part, and the document that keeps the last run.

use std::fmt::Write;

use anyhow::{Context, Result};
use twin::instant;

use crate::machine;

const DOCUMENT: &str = "docs/performance.md";
const BEGIN: &str = "<!-- measured: what stands below is written by `make bench` -->\n";
const END: &str = "<!-- end of what is measured -->\n";

/// The figures of one part.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// What was done, in a sentence or two.
    pub(crate) how: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Section {
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n\n", self.title, self.how);
        let mut line = |cells: Vec<&str>| writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes all");
        line(self.columns.clone());
        line(self.columns.iter().enumerate().map(|(place, _)| if place == 0 { "---" } else { "---:" }).collect());
        for row in &self.rows {
            line(row.iter().map(String::as_str).collect());
        }
        text
    }
}

/// Replaces the figures in the document; the words around them stay.
pub(crate) fn write(sections: &[Section]) -> Result<()> {
    let before = std::fs::read_to_string(DOCUMENT).with_context(|| DOCUMENT.to_owned())?;
    let (head, rest) = before.split_once(BEGIN).with_context(|| format!("{DOCUMENT} lacks the line {BEGIN}"))?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("{DOCUMENT} lacks the line {END}"))?;
    let day = instant::format(cidp::training::now());
    let mut text = format!("{head}{BEGIN}\nMeasured {} on {}.\n", &day[..10], machine::description());
    for section in sections {
        write!(text, "\n{}", section.markdown())?;
    }
    std::fs::write(DOCUMENT, format!("{text}\n{END}{tail}"))?;
    println!("written to {DOCUMENT}");
    Ok(())
}

/// A large number with thousands set apart.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
