//! Where the program lives during a test: a directory of its own with its log, the settings it gets, and the running process. The model is
//! trained once for all tests.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::answers::Client;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_cidp");
/// The repository.
pub(crate) const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
/// The admin key of the servers of these tests.
pub(crate) const KEY: &str = "a-key-for-the-promises";
/// Longest time for a command, and for a server to get ready: the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks until there is an answer, at most for `patience`.
pub(crate) fn until<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {patience:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The locomotive's model, trained from the repository's tables by the program itself.
pub(crate) fn model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promises");
        let table = |name: &str| format!("{REPOSITORY}/data/{name}");
        let home = Home::without_model();
        let arguments = ["--sensors", &table("sensors.csv"), "--maintenance", &table("maintenance.csv"), "--out"]
            .map(str::to_owned);
        let out_text = out.display().to_string();
        let arguments: Vec<_> =
            ["bootstrap"].into_iter().chain(arguments.iter().map(String::as_str)).chain([out_text.as_str()]).collect();
        let outcome = home.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        out.join("latest.onnx")
    })
}

/// A directory and the settings of the program in it.
pub(crate) struct Home {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    /// An empty home of a server without simulated locomotives.
    pub(crate) fn new() -> Self {
        let mut home = Self::without_model();
        home.set("CIDP_MODEL__PATH", model().display());
        home
    }

    /// A home whose program finds no model, and no tables to train one.
    pub(crate) fn without_model() -> Self {
        let mut home = Self { directory: TempDir::new().expect("a directory for the test"), variables: Vec::new() };
        home.set("CIDP_HTTP__LISTEN", "127.0.0.1:0");
        home.set("CIDP_MONITOR__LISTEN", "127.0.0.1:0");
        home.set("CIDP_SIMULATOR__LOCOMOTIVES", 0);
        home.set("CIDP_LOG__DIRECTORY", home.path().join("log").display());
        home.set("CIDP_API_KEY", KEY);
        home
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn set(&mut self, name: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value));
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("the test's directory can be written");
        path.display().to_string()
    }

    /// Every dead letter that the log's directory holds, as lines of JSON.
    pub(crate) fn dead_letters(&self) -> Vec<serde_json::Value> {
        let directory = self.path().join("log/dead-letters");
        let entries = std::fs::read_dir(directory).expect("a server has made the directory");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("dead letters are text"));
        let text: String = texts.collect();
        text.lines().map(|line| serde_json::from_str(line).expect("a dead letter is a line of JSON")).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CIDP_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.path()).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        let mut running = Running::start(self.command(arguments));
        let status = running.end(PATIENCE, &format!("cidp {}", arguments.join(" ")));
        Outcome { code: status.code(), stdout: running.stdout(), stderr: running.stderr() }
    }

    /// Runs a line of a shell as a reader of the documents types it, the program on its path; a server's usual address means `server`.
    pub(crate) fn shell(&self, line: &str, server: Option<&str>) -> Outcome {
        let mut command = self.command(&[]);
        let directory = Path::new(PROGRAM).parent().expect("a file has a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let line = server.map_or_else(|| line.to_owned(), |server| line.replace("http://127.0.0.1:5000", server));
        // The commands that talk to a server find it where it listens in this test.
        let listen = server.and_then(|server| server.strip_prefix("http://")).unwrap_or("127.0.0.1:0");
        let mut shell = Command::new("bash");
        shell.args(["-e", "-c", &line]).current_dir(self.path());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("PATH", format!("{}:{path}", directory.display())).env("CIDP_HTTP__LISTEN", listen);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command = shell;
        let mut running = Running::start(command);
        let status = running.end(PATIENCE, &line);
        let outcome = Outcome { code: status.code(), stdout: running.stdout(), stderr: running.stderr() };
        outcome.succeeded();
        outcome
    }

    /// Starts a server and kills it after a moment, ready or not.
    pub(crate) fn start_and_kill(&self, after: Duration) {
        let mut running = Running::start(self.command(&["serve"]));
        std::thread::park_timeout(after);
        running.child.kill().expect("our own child");
        running.child.wait().expect("our own child");
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        let mut running = Running::start(self.command(&["serve"]));
        let greeting = until(PATIENCE, "the greeting", || {
            if let Some(status) = running.child.try_wait().expect("our own child") {
                panic!("the server ended ({status}): {}{}", running.stdout(), running.stderr());
            }
            Some(running.stdout()).filter(|greeting| greeting.contains("Ctrl-C"))
        });
        let after = |mark: &str| greeting.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::trim);
        let link = after("Live page").expect("the greeting names the live page").to_owned();
        let api = after("API").expect("the greeting names the API");
        let base = api.split_whitespace().next().expect("an address").to_owned();
        let client = Client::new(&base, Some(KEY));
        let ready = || (client.get("/health/ready").status == 200).then_some(());
        until(PATIENCE, "/health/ready", ready);
        Server { running, base, link }
    }
}

/// What a command left behind.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Checks the exit code and that the message names all of these; it may not be a panic.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, named: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in named {
            assert!(self.stderr.contains(part), "expected {part:?} in: {}", self.stderr);
        }
    }

    #[track_caller]
    pub(crate) fn succeeded(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        &self.stdout
    }
}

/// A process whose output is gathered; it does not outlive the test.
struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            gather(child.stdout.take().expect("a pipe"), Arc::clone(&stdout)),
            gather(child.stderr.take().expect("a pipe"), Arc::clone(&stderr)),
        ];
        Self { child, stdout, stderr, readers }
    }

    fn end(&mut self, patience: Duration, what: &str) -> ExitStatus {
        let status = until(patience, what, || self.child.try_wait().expect("our own child"));
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader of output does not fail");
        }
        status
    }

    fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn gather(pipe: impl Read + Send + 'static, text: Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(text, "{line}").expect("a String takes every text");
        }
    })
}

/// A running server.
pub(crate) struct Server {
    running: Running,
    base: String,
    link: String,
}

impl Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The link that signs a browser in.
    pub(crate) fn link(&self) -> &str {
        &self.link
    }

    /// A client with the admin key.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base, Some(KEY))
    }

    /// A client with another key, or without any.
    pub(crate) fn client_with(&self, key: Option<&str>) -> Client {
        Client::new(&self.base, key)
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.running.child.id());
        let status = std::fs::read_to_string(&path).expect("the server runs on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process that runs has it");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB")
    }

    /// Asks it to end by a signal (`INT`, `TERM`), which must take less than ten seconds and give exit code 0.
    pub(crate) fn stop(mut self, signal: &str) {
        let id = self.running.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status().expect("kill is there");
        assert!(sent.success(), "the server still runs");
        let status = self.running.end(Duration::from_secs(10), &format!("the end after SIG{signal}"));
        assert_eq!(status.code(), Some(0), "{}{}", self.running.stdout(), self.running.stderr());
        let log = self.running.stderr();
        assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    }

    /// Asks it to end, and kills it a moment later, in the midst of that or after it.
    pub(crate) fn stop_and_kill(self, after: Duration) {
        let id = self.running.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill is there");
        assert!(sent.success(), "the server still runs");
        std::thread::park_timeout(after);
        self.kill();
    }

    /// Ends it as a power cut would: SIGKILL.
    pub(crate) fn kill(mut self) {
        self.running.child.kill().expect("our own child");
        self.running.child.wait().expect("our own child");
    }
}
