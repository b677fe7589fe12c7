//! Measures the program on this machine, prints the figures and writes them into docs/performance.md: `make bench`, or one part of it with
//! `cargo bench --profile release --bench performance -- pipeline`. What is measured stands in one file a part; nothing here asserts.

mod cold;
mod forest;
mod machine;
mod memory;
mod past;
mod pipeline;
mod predict;
mod replay;
mod report;
mod stage;
mod training;

use anyhow::{Result, bail};

use report::Section;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures one part.
type Measure = fn() -> Result<Section>;

const PARTS: [(&str, Measure); 8] = [
    ("forest", forest::measure),
    ("training", training::measure),
    ("pipeline", pipeline::measure),
    ("replay", replay::measure),
    ("memory", memory::measure),
    ("cold", cold::measure),
    ("past", past::measure),
    ("predict", predict::measure),
];

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = wanted.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        bail!("expected parts among {}, got {unknown:?}", PARTS.map(|(part, _)| part).join(", "));
    }
    let mut sections = Vec::new();
    for (part, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|name| name == part) {
            eprintln!("measuring: {part}");
            let section = measure()?;
            println!("{}", section.markdown());
            sections.push(section);
        }
    }
    // A part alone is for whoever works on it; the document holds one run of everything.
    if wanted.is_empty() { report::write(&sections) } else { Ok(()) }
}
