//! `POST /predict` of the real program over HTTP: keep-alive connections that ask again as soon as they are answered.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::machine::{self, percentiles};
use crate::report::{Section, thousands};
use crate::stage;

const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(8);
const READY_WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn measure() -> Result<Section> {
    let directory = tempfile::tempdir()?;
    stage::artefact()?.save(&directory.path().join("latest.onnx"))?;
    let server = Server::start(directory.path())?;
    let row = stage::runtime()?.block_on(async {
        server.wait_until_ready().await?;
        ask_for(server.address, WARM_UP).await?;
        let (cpu, began) = (machine::cpu_seconds(&server.process())?, Instant::now());
        let mut durations = ask_for(server.address, MEASURED).await?;
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), machine::cpu_seconds(&server.process())? - cpu);
        let count = durations.len() as f64;
        let [p50, p99, p999] = percentiles(&mut durations).map(|d| format!("{:.2} ms", d.as_secs_f64() * 1e3));
        let resident = format!("{:.0}", machine::resident_mib(&server.process())?);
        anyhow::Ok(vec![thousands(count / seconds), format!("{:.1}", cpu * 1e6 / count), p50, p99, p999, resident])
    })?;
    Ok(Section {
        title: "POST /predict",
        how: format!(
            "The release binary, {CONNECTIONS} keep-alive connections in a closed loop, the load generator on the same cores; CPU time is \
             the server's alone."
        ),
        columns: vec!["requests/s", "CPU-µs a request", "p50", "p99", "p99.9", "resident MiB"],
        rows: vec![row],
    })
}

/// The program, without its simulated fleet.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let (address, monitor) = (free()?, free()?);
        let child = Command::new(env!("CARGO_BIN_EXE_cidp"))
            .arg("serve")
            .env("CIDP_HTTP__LISTEN", address.to_string())
            .env("CIDP_MONITOR__LISTEN", monitor.to_string())
            .env("CIDP_LOG__DIRECTORY", directory.join("log"))
            .env("CIDP_MODEL__PATH", directory.join("latest.onnx"))
            .env("CIDP_SIMULATOR__LOCOMOTIVES", "0")
            .stdout(Stdio::null())
            .spawn()
            .context("the program does not start")?;
        Ok(Self { child, address })
    }

    pub(crate) fn process(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) async fn wait_until_ready(&self) -> Result<()> {
        let began = Instant::now();
        let request = b"GET /health/ready HTTP/1.1\r\nhost: cidp\r\nconnection: close\r\n\r\n";
        loop {
            if let Ok(mut connection) = TcpStream::connect(self.address).await {
                connection.write_all(request).await?;
                let mut answer = String::new();
                connection.read_to_string(&mut answer).await?;
                if answer.starts_with("HTTP/1.1 200") {
                    return Ok(());
                }
            }
            ensure!(began.elapsed() < READY_WITHIN, "the program is not ready after {READY_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks over all connections until the time is over; how long each answer took.
async fn ask_for(address: SocketAddr, time: Duration) -> Result<Vec<Duration>> {
    let end = Instant::now() + time;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(ask_until(address, end));
    }
    let mut all = Vec::new();
    while let Some(durations) = connections.join_next().await {
        all.extend(durations??);
    }
    Ok(all)
}

async fn ask_until(address: SocketAddr, end: Instant) -> Result<Vec<Duration>> {
    let body = r#"{"flow":120,"pressure":7,"vibration":2,"temperature":45}"#;
    let request = format!(
        "POST /predict HTTP/1.1\r\nhost: cidp\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        cidp::auth::SEED_KEY,
        body.len()
    );
    let mut connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(16 * 1024);
    let mut durations = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        connection.write_all(request.as_bytes()).await?;
        answer.clear();
        while !is_whole(&answer) {
            ensure!(connection.read_buf(&mut answer).await? > 0, "the server closed the connection");
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "expected 200, got {}", String::from_utf8_lossy(&answer));
        durations.push(began.elapsed());
    }
    Ok(durations)
}

/// Whether an answer has all of its body.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| answer.len() >= end + 4 + length)
}
