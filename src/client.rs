//! A client of the API for the commands that talk to a running server.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::auth::SEED_KEY;
use crate::config::Config;

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request is given again before it counts as failed.
const ATTEMPTS: u32 = 60;

/// A server and the key for it.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    key: String,
}

impl Client {
    /// A client for `url`, or for the server that the configuration describes. Without a key the seed's is used on this machine.
    pub fn new(url: Option<&str>, key: Option<&str>, config: &Config) -> Self {
        let base = url.map_or_else(|| format!("http://{}", config.http), |url| url.trim_end_matches('/').to_owned());
        let key = key.map(str::to_owned).or_else(|| config.api_key.clone()).unwrap_or_else(|| SEED_KEY.to_owned());
        let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Self { agent: agent.into(), base, key }
    }

    /// The address of a path.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Gets JSON with the status and one header.
    pub fn get(&self, path: &str, header: &str) -> Result<(u16, Value, Option<String>)> {
        let request = self.agent.get(self.address(path)).header("X-API-KEY", &self.key);
        let mut response = request.call().with_context(|| self.unreachable())?;
        let status = response.status().as_u16();
        let header = response.headers().get(header).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.body_mut().read_json().context("expected JSON from the server")?;
        Ok((status, body, header))
    }

    /// Posts a body and gives the answer; waits and sends again while the server has too much to do.
    pub fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Result<Value> {
        for _ in 0..ATTEMPTS {
            let request = self.agent.post(self.address(path)).header("X-API-KEY", &self.key).content_type(media_type);
            let mut response = request.send(body).with_context(|| self.unreachable())?;
            let status = response.status().as_u16();
            if status == 429 || status == 503 {
                let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let seconds = after.and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
                std::thread::sleep(Duration::from_secs(seconds));
                continue;
            }
            let answer: Value = response.body_mut().read_json().context("expected JSON from the server")?;
            if status >= 300 {
                bail!("the server answered {status}: {}", detail(&answer));
            }
            return Ok(answer);
        }
        bail!("{} had too much to do for {ATTEMPTS} attempts", self.base)
    }

    /// Asks for something long and gives its bytes as they come, with the status. It may take as long as it takes.
    pub fn stream(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<(u16, impl std::io::Read + use<>)> {
        let config = ureq::Agent::config_builder().timeout_connect(Some(TIMEOUT)).timeout_recv_response(Some(TIMEOUT));
        let agent = ureq::Agent::from(config.http_status_as_error(false).build());
        let request = ureq::http::Request::builder().method(method).uri(self.address(path));
        let request = request.header("X-API-KEY", &self.key).header("content-type", "application/json");
        let request = request.body(body.unwrap_or_default()).context("a request")?;
        let response = agent.run(request).with_context(|| self.unreachable())?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().into_reader()))
    }

    /// Posts a body and hears the lines of the answer as they come, however long that takes.
    pub fn lines(&self, path: &str, body: &Value, mut hear: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let (status, answer) = self.stream("POST", path, Some(&serde_json::to_vec(body)?))?;
        if status >= 300 {
            let answer: Value = serde_json::from_reader(answer).context("expected JSON from the server")?;
            bail!("the server answered {status}: {}", detail(&answer));
        }
        for line in BufReader::new(answer).lines() {
            hear(&line.context("the server broke the answer off")?)?;
        }
        Ok(())
    }

    /// Deletes what stands at a path.
    pub fn delete(&self, path: &str) -> Result<()> {
        let request = self.agent.delete(self.address(path)).header("X-API-KEY", &self.key);
        let mut response = request.call().with_context(|| self.unreachable())?;
        let status = response.status().as_u16();
        if status >= 300 {
            let answer: Value = response.body_mut().read_json().context("expected JSON from the server")?;
            bail!("the server answered {status}: {}", detail(&answer));
        }
        Ok(())
    }

    fn unreachable(&self) -> String {
        format!("{} cannot be reached; start it with `cidp serve`, or name another with --url", self.base)
    }
}

/// What a problem says.
pub fn detail(problem: &Value) -> &str {
    problem["detail"].as_str().unwrap_or("no reason given")
}
