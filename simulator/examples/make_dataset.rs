//! Writes sensors.csv and maintenance.csv into a directory.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    let create = |name: &str| File::create(Path::new(&directory).join(name)).map(BufWriter::new);
    let options = simulator::dataset::DatasetOptions::default();
    let summary = simulator::dataset::write(&mut create("sensors.csv")?, &mut create("maintenance.csv")?, &options)?;
    println!("{summary:?}");
    Ok(())
}
