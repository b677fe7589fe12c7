//! What the operating system knows: CPU time, resident memory, the machine's name. Linux only, as the program's own targets are.

use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of `/proc/*/stat` a second; fixed at 100 on every Linux that Rust's standard library runs on.
const TICKS: f64 = 100.0;

/// CPU time of a process, user and system, in seconds.
pub(crate) fn cpu_seconds(process: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("CPU time comes from /proc")?;
    // The name of the process, in parentheses, may hold anything; the numbers follow it.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |field: usize| after_name.split_whitespace().nth(field).and_then(|text| text.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("/proc/*/stat has no times")?;
    Ok((user + system) / TICKS)
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc/*/status has no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024.0)
}

/// Bytes of all files below a directory.
pub(crate) fn bytes_below(directory: &std::path::Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

/// Copies all files below a directory.
pub(crate) fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if entry.is_dir() { copy(&entry, &to)? } else { std::fs::copy(&entry, &to).map(drop)? }
    }
    Ok(())
}

/// Processor, cores and memory in words.
pub(crate) fn description() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = value(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or_default();
    format!("{}, {cores} cores, {:.0} GiB", value(&read("/proc/cpuinfo"), "model name"), memory / 1_048_576.0)
}

/// The p50, p99 and p99.9 of durations, sorted by this.
pub(crate) fn percentiles(durations: &mut [Duration]) -> [Duration; 3] {
    durations.sort_unstable();
    [0.5, 0.99, 0.999].map(|share| {
        let place = (durations.len() as f64 * share) as usize;
        durations.get(place.min(durations.len().saturating_sub(1))).copied().unwrap_or_default()
    })
}
