//! A client of the live stream: one frame after the other, each with a deadline.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket, client};

use crate::home::{KEY, Server};

/// An open stream.
pub(crate) struct Stream {
    socket: WebSocket<TcpStream>,
}

impl Stream {
    /// Opens a stream with the admin key.
    pub(crate) fn open(server: &Server, path: &str) -> Self {
        Self::knock(server, path, Some(KEY)).unwrap_or_else(|(status, body)| panic!("{path}: {status} {body}"))
    }

    /// Tries to open a stream; a refusal gives its status and body.
    pub(crate) fn knock(server: &Server, path: &str, key: Option<&str>) -> Result<Self, (u16, String)> {
        let address = server.base().strip_prefix("http://").expect("a plain address");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a well-formed address");
        if let Some(key) = key {
            request.headers_mut().insert("x-api-key", key.parse().expect("a well-formed key"));
        }
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        match client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Failure(Error::Http(response))) => {
                let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                Err((response.status().as_u16(), body))
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Sends what a client may say.
    pub(crate) fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).expect("the server listens");
    }

    /// The next frame; the end of the stream gives its code and reason.
    pub(crate) fn next(&mut self, patience: Duration) -> Result<Value, (u16, String)> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no frame within {patience:?}");
            self.socket.get_ref().set_read_timeout(Some(left)).expect("a timeout can be set");
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).expect("a frame is JSON text")),
                Ok(Message::Close(frame)) => {
                    let (code, reason) =
                        frame.map(|frame| (u16::from(frame.code), frame.reason.to_string())).unwrap_or_default();
                    return Err((code, reason));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the stream broke without a close frame: {error}"),
            }
        }
    }

    /// All frames up to the first one that is wanted, that one the last.
    pub(crate) fn until(
        &mut self,
        patience: Duration,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Vec<Value> {
        let end = Instant::now() + patience;
        let mut frames = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: not within {patience:?}; the last frames: {:#?}", tail(&frames));
            let frame = self.next(left).unwrap_or_else(|(code, reason)| panic!("{what}: closed, {code} {reason}"));
            frames.push(frame);
            if frames.last().is_some_and(&mut wanted) {
                return frames;
            }
        }
    }
}

fn tail(frames: &[Value]) -> &[Value] {
    &frames[frames.len().saturating_sub(3)..]
}

/// Whether a frame is of this type.
pub(crate) fn is(frame: &Value, kind: &str) -> bool {
    frame["type"] == kind
}

/// The twins of all frames that carry some, oldest first.
pub(crate) fn twins(frames: &[Value]) -> Vec<&Value> {
    let with_twins = frames.iter().filter(|frame| is(frame, "snapshot") || is(frame, "twins"));
    with_twins.flat_map(|frame| frame["items"].as_array().expect("items").iter()).collect()
}
