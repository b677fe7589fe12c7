//! A failing disk under the real binary: syncs and writes that fail, take half, or find no room (`tools/faults.c`, preloaded), and a file
//! system that is full in truth. The server says so, takes nothing more, loses nothing that it acknowledged, and starts again.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::answers::Client;
use crate::home::{Home, REPOSITORY, until};
use crate::ledger::{Random, check_ledger, check_states, producers, runs, seed};

/// Every operation that the fault applies to.
const ALL: u32 = u32::MAX;

/// The library, compiled once for all tests.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.so");
        let fresh = library.with_extension(format!("{}.so", std::process::id()));
        let source = format!("{REPOSITORY}/tools/faults.c");
        let arguments = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"];
        let built = Command::new("cc").args(arguments).arg(&fresh).args([&source, "-ldl"]).output();
        let built = built.expect("tools/install brings a C compiler");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        fs::rename(&fresh, &library).expect("renamed");
        library
    })
}

/// Moves the program's wall clock by so many seconds from its next start on; 0 takes the real one again.
pub(crate) fn shift_clock(home: &mut Home, seconds: i64) {
    home.set("LD_PRELOAD", library().display());
    home.set("FAULTS_CLOCK_SHIFT", seconds);
}

/// The kinds of `tools/faults.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    SyncFails = 1,
    WriteFails = 2,
    ShortWrites = 3,
    DiskFull = 4,
    AllFail = 5,
}

/// The way to the library in a running program.
struct Switch(fs::File);

impl Switch {
    fn of(home: &mut Home) -> Self {
        let path = home.file("faults", [0; 12]);
        home.set("LD_PRELOAD", library().display());
        home.set("FAULTS", &path);
        home.set("FAULTS_BELOW", home.path().join("log").display());
        Self(fs::OpenOptions::new().write(true).open(path).expect("just written"))
    }

    fn arm(&self, fault: Fault, skip: u32, left: u32) {
        // The kind comes last, when the rest stands.
        let numbers = [skip.to_ne_bytes(), left.to_ne_bytes()].concat();
        self.0.write_all_at(&numbers, 4).expect("written");
        self.0.write_all_at(&(fault as u32).to_ne_bytes(), 0).expect("written");
    }

    fn disarm(&self) {
        self.0.write_all_at(&[0; 12], 0).expect("written");
    }
}

/// The server says that it can take nothing, and why.
fn check_refusal(client: &Client, refused: &crate::answers::Answer, what: &str) {
    let problem = refused.problem(503, "unavailable");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("shard") || detail.contains("poisoned"), "{what}: {problem}");
    let health = until(Duration::from_secs(20), "the health tells of it", || {
        let health = client.get("/health");
        (health.status == 503).then(|| health.json())
    });
    let reasons = health["shards"].as_array().into_iter().flatten().filter_map(|shard| shard["reason"].as_str());
    let reasons: Vec<_> = reasons.collect();
    assert!(reasons.iter().any(|reason| reason.contains("poisoned")), "{what}: {health:#}");
    assert_eq!(client.get("/health/ready").status, 503, "{what}");
    assert_eq!(client.get("/health/live").status, 200, "{what}: it is alive, to be asked");
}

#[test]
fn a_failing_disk_is_told_and_loses_nothing() {
    let seed = seed("failing disks");
    for run in 0..runs(1) {
        for fault in [Fault::SyncFails, Fault::WriteFails, Fault::DiskFull, Fault::AllFail] {
            let seed = seed.wrapping_add(run as u64 * 10 + fault as u64);
            let mut random = Random(seed);
            // The fault may be over at once: what has failed once stays poisoned all the same.
            let left = if random.below(2) == 0 { 1 } else { ALL };
            let skip = random.below(60) as u32;
            println!("{fault:?}, seed {seed}: after {skip} operations, {left} fail");
            one_failing_disk(fault, skip, left, seed);
        }
    }
}

fn one_failing_disk(fault: Fault, skip: u32, left: u32, seed: u64) {
    let mut home = Home::new();
    let switch = Switch::of(&mut home);
    let mut producers = producers(2, seed);
    let server = home.serve();
    let client = server.client();
    switch.arm(fault, skip, left);
    let refusals: Vec<_> = std::thread::scope(|scope| {
        let producing = producers.iter_mut().map(|producer| {
            let client = client.clone();
            scope.spawn(move || producer.produce_until_refused(&client))
        });
        let producing: Vec<_> = producing.collect();
        producing.into_iter().map(|producer| producer.join().expect("refused at last")).collect()
    });
    let what = format!("{fault:?}");
    for refused in &refusals {
        check_refusal(&client, refused, &what);
    }
    // The disk is well again, the log stays poisoned: what has failed is never tried again.
    switch.disarm();
    let still = producers[0].produce_until_refused(&client);
    check_refusal(&client, &still, &what);
    server.kill();

    let server = home.serve();
    let client = server.client();
    check_ledger(&client, &producers);
    check_states(&client, &producers);
    for producer in &mut producers {
        producer.catch_up(&client);
    }
    check_ledger(&client, &producers);
    server.stop("TERM");
    assert!(home.run(&["log", "repair"]).succeeded().contains("the chain is whole"));
}

/// A write that takes half of its bytes is no fault, if the rest follows.
#[test]
fn short_writes_are_gone_on_with() {
    let seed = seed("short writes");
    let mut home = Home::new();
    let switch = Switch::of(&mut home);
    switch.arm(Fault::ShortWrites, 0, ALL);
    let mut producers = producers(1, seed);
    let server = home.serve();
    for _ in 0..20 {
        producers[0].catch_up(&server.client());
    }
    check_ledger(&server.client(), &producers);
    server.kill();
    switch.disarm();
    let server = home.serve();
    check_ledger(&server.client(), &producers);
    check_states(&server.client(), &producers);
    server.stop("TERM");
}

/// A file system of its own that is unmounted with the test.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this machine does not let us mount one.
    fn tmpfs(place: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(place).expect("the test's directory can be written");
        let arguments = ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"];
        let mounted = Command::new("mount").args(arguments).arg(place).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Self(place.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_full_file_system_is_told_and_loses_nothing() {
    let home = Home::new();
    let place = home.path().join("log");
    let Some(_mounted) = Mounted::tmpfs(&place, "48m") else {
        println!(
            "NOT TESTED: this machine does not allow a tmpfs to be mounted, so that no file system could be filled"
        );
        return;
    };
    let mut producers = producers(2, 7);
    let server = home.serve();
    let client = server.client();
    for producer in &mut producers {
        producer.catch_up(&client);
    }
    // All that is left but a little goes to somebody else.
    let ballast = place.join("ballast");
    let mut left = 64 << 20;
    let block = vec![0x55; 1 << 16];
    let file = fs::File::create(&ballast).expect("room for a name");
    while left > 0 && file.write_all_at(&block, (64 << 20) - left).is_ok() {
        left -= block.len() as u64;
    }
    assert!(left > 0, "the file system was filled");
    let refused = producers[0].produce_until_refused(&client);
    check_refusal(&client, &refused, "a full disk");
    server.kill();
    drop(file);
    fs::remove_file(&ballast).expect("removed");

    let server = home.serve();
    let client = server.client();
    check_ledger(&client, &producers);
    check_states(&client, &producers);
    for producer in &mut producers {
        producer.catch_up(&client);
    }
    check_ledger(&client, &producers);
    server.stop("TERM");
}
