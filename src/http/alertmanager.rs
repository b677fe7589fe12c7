//! `POST /alertmanager`: the webhook of Prometheus' Alertmanager, version 4. What an alert does to the breaker is not known here.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::breaker::{cause, told};
use super::{Door, ask};
use crate::auth::extract::{Caller, Operate};
use crate::breaker::{ALERTS_MOST, AlertNews, Standing};
use crate::problem::{Misfit, Problem};

/// Longest fingerprint, in bytes; Alertmanager's own have 16.
const FINGERPRINT_BYTES: usize = 128;
/// Characters of an alert's name that are kept.
const NAME_CHARS: usize = 100;

/// What Alertmanager sends; fields that are not named here are ignored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// `4`.
    #[schema(example = "4")]
    version: String,
    /// The alerts of the group.
    #[schema(max_items = 1000)]
    alerts: Vec<WebhookAlert>,
}

/// One alert.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WebhookAlert {
    /// `firing` or `resolved`.
    #[schema(example = "firing")]
    status: String,
    /// Names the alert from its first firing to its end.
    #[schema(example = "c5f1c3c8a2d0e9b7", min_length = 1, max_length = 128)]
    fingerprint: String,
    /// Its labels; `alertname` is shown.
    #[serde(default)]
    #[schema(value_type = Object)]
    labels: Map<String, Value>,
}

/// Every firing alert opens the breaker at once and holds it until its fingerprint comes resolved.
#[utoipa::path(
    post, path = "/alertmanager", tag = "prediction", request_body = Webhook,
    responses(
        (status = 200, description = "Durable and in force: how the breaker stands now", body = Standing),
        (status = "default", response = Problem)
    ),
    security(("key" = []), ("bearer" = []))
)]
pub async fn alerts(
    State(door): State<Door>,
    caller: Caller<Operate>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Standing>, Problem> {
    caller.sees_all()?;
    let alerts = news(ask::json(&headers, &body)?)?;
    let cause = cause(&caller, door.app.now());
    told(door.app.parts.breaker.alerts(alerts, cause).await)
}

/// The alerts of a webhook, or every place that does not fit.
fn news(webhook: Webhook) -> Result<Vec<AlertNews>, Problem> {
    let mut misfits = Vec::new();
    let mut misfit = |path: String, message: String| misfits.push(Misfit { path, message });
    if webhook.version != "4" {
        misfit("version".to_owned(), format!("expected \"4\", got {:?}", cut(&webhook.version)));
    }
    if webhook.alerts.len() > ALERTS_MOST {
        misfit("alerts".to_owned(), format!("expected at most {ALERTS_MOST}, got {}", webhook.alerts.len()));
    }
    let mut alerts = Vec::with_capacity(webhook.alerts.len().min(ALERTS_MOST));
    for (index, WebhookAlert { status, fingerprint, labels }) in
        webhook.alerts.into_iter().take(ALERTS_MOST).enumerate()
    {
        if status != "firing" && status != "resolved" {
            let message = format!("expected firing or resolved, got {:?}", cut(&status));
            misfit(format!("alerts[{index}].status"), message);
        }
        if fingerprint.is_empty() || fingerprint.len() > FINGERPRINT_BYTES {
            let message = format!("expected 1 to {FINGERPRINT_BYTES} bytes, got {}", fingerprint.len());
            misfit(format!("alerts[{index}].fingerprint"), message);
        }
        let name = cut(labels.get("alertname").and_then(Value::as_str).unwrap_or_default());
        alerts.push(AlertNews { fingerprint, name, firing: status == "firing" });
    }
    if misfits.is_empty() { Ok(alerts) } else { Err(Problem::misfits(misfits)) }
}

fn cut(text: &str) -> String {
    text.chars().take(NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Vec<AlertNews>, Problem> {
        news(serde_json::from_value(body).expect("of this shape"))
    }

    #[test]
    fn a_webhook_of_alertmanager_is_read() {
        let body = json!({
            "version": "4", "groupKey": "{}:{alertname=\"Slow\"}", "truncatedAlerts": 0, "status": "firing", "receiver": "cidp",
            "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager",
            "alerts": [
                {"status": "firing", "labels": {"alertname": "Slow"}, "annotations": {}, "startsAt": "2026-02-01T08:00:00Z",
                 "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "c5f1"},
                {"status": "resolved", "labels": {}, "annotations": {}, "fingerprint": "d6"}
            ]
        });
        let alert = |fingerprint: &str, name: &str, firing| AlertNews {
            fingerprint: fingerprint.to_owned(),
            name: name.to_owned(),
            firing,
        };
        assert_eq!(read(body), Ok(vec![alert("c5f1", "Slow", true), alert("d6", "", false)]));
    }

    #[test]
    fn every_misfit_is_named_with_its_place() {
        let body = json!({"version": "3", "alerts": [
            {"status": "firing", "fingerprint": "a"}, {"status": "pending", "fingerprint": ""}
        ]});
        let problem = read(body).expect_err("three misfits");
        let paths: Vec<_> = problem.errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!((problem.status, paths), (422, vec!["version", "alerts[1].status", "alerts[1].fingerprint"]));
    }
}
