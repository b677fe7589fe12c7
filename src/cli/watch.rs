//! `cidp watch`: the live stream in a terminal, one line for whatever happens.

use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Server, runtime};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One locomotive; the whole fleet if left out.
    id: Option<String>,
    /// Stop after so many frames.
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    #[command(flatten)]
    server: Server,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<()> {
    let client = arguments.server.client(config);
    let path = arguments.id.as_ref().map_or("/ws/fleet".to_owned(), |id| format!("/ws/twins/{id}"));
    let address = client.address(&path).replacen("http", "ws", 1);
    runtime()?.block_on(follow(arguments, &address, client.key(), json))
}

async fn follow(arguments: &Arguments, address: &str, key: &str, json: bool) -> Result<()> {
    let mut request = address.into_client_request().with_context(|| format!("{address} is no address"))?;
    request
        .headers_mut()
        .insert("x-api-key", key.parse().context("the key has characters that a header cannot carry")?);
    let (mut socket, _) = match connect_async(request).await {
        Ok(connected) => connected,
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            bail!("the server answered {}: {body}", response.status());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("{address} cannot be reached; start it with `cidp serve`"));
        }
    };
    let mut left = arguments.frames;
    while left != Some(0) {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = tokio::signal::ctrl_c() => break,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if json {
                    println!("{text}");
                } else {
                    tell(&serde_json::from_str(&text).context("expected JSON frames")?);
                }
                left = left.map(|left| left - 1);
            }
            Some(Ok(Message::Close(frame))) => {
                let reason =
                    frame.map_or("no reason given".to_owned(), |frame| format!("{}: {}", frame.code, frame.reason));
                bail!("the server ended the stream ({reason})");
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error).context("the stream broke"),
            None => bail!("the stream ended"),
        }
    }
    // The end is ours: whether the server still hears of it does not matter.
    drop(socket.send(Message::Close(None)).await);
    Ok(())
}

fn tell(frame: &Value) {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    match frame["type"].as_str() {
        Some("snapshot" | "twins") => frame["items"].as_array().into_iter().flatten().for_each(|twin| {
            let sensors = twin["sensors"].as_object().into_iter().flatten();
            let sensors: Vec<_> = sensors.map(|(key, sensor)| format!("{key} {}", sensor["value"])).collect();
            let risk = twin["risk"].as_f64().map_or_else(|| "-".to_owned(), |risk| format!("{risk:.2}"));
            let reason = word(&twin["reason"]);
            println!("{:12} {:8} {risk:4} {reason:12} {}", word(&twin["id"]), word(&twin["level"]), sensors.join("  "));
        }),
        Some("risk") => {
            let (id, from, to) = (word(&frame["locomotive_id"]), word(&frame["from"]), word(&frame["to"]));
            println!("*** {id}: {from} -> {to} (risk {}, {})", frame["risk"], word(&frame["reason"]));
        }
        Some("alert") => {
            println!(
                "!!! {}: alert {} {}",
                word(&frame["locomotive_id"]),
                word(&frame["alert"]),
                word(&frame["state"])
            );
        }
        Some("gap") => println!("... frames {} to {} were not sent", frame["from"], frame["to"]),
        _ => {}
    }
}
