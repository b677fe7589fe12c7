//! The server's own `OpenAPI` document as a judge of its answers. Stricter than JSON Schema asks for: a field that the document does not name
//! is a fault as well, and so is a keyword that this judge does not know, since it would be taken for a yes.

use serde_json::Value;

use crate::answers::Answer;

/// Keywords that say something to people and bind no value.
const WORDS: [&str; 6] = ["description", "example", "examples", "title", "default", "format"];

/// The document of a server.
pub(crate) struct Document(pub(crate) Value);

impl Document {
    /// Whether an operation is there.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        self.0["paths"].get(path)?.get(method.to_ascii_lowercase())
    }

    /// Checks an answer against what is promised for its operation, status and media type.
    #[track_caller]
    pub(crate) fn check(&self, method: &str, path: &str, answer: &Answer) {
        let place = format!("{method} {path} {}", answer.status);
        let operation = self.operation(method, path).unwrap_or_else(|| panic!("{place}: not in the document"));
        let responses = &operation["responses"];
        let response = responses.get(answer.status.to_string()).or_else(|| responses.get("default"));
        let response = self.resolve(response.unwrap_or_else(|| panic!("{place}: the status is not in the document")));
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_empty(), "{place}: no content is promised, got {}", answer.text());
            return;
        };
        let media_type = answer.media_type();
        let schema =
            content.get(media_type).unwrap_or_else(|| panic!("{place}: {media_type:?} is not in the document"));
        if media_type.ends_with("json") && media_type != "application/x-ndjson" {
            self.check_value(&place, &schema["schema"], &answer.json());
        }
    }

    /// Checks a value against a component schema.
    #[track_caller]
    pub(crate) fn check_component(&self, name: &str, value: &Value) {
        let schema = self.0["components"]["schemas"].get(name).unwrap_or_else(|| panic!("there is no schema {name}"));
        self.check_value(name, schema, value);
    }

    #[track_caller]
    fn check_value(&self, place: &str, schema: &Value, value: &Value) {
        if let Err(error) = self.judge(schema, value, "") {
            panic!("{place}: {error}\n{value:#}");
        }
    }

    /// Follows a reference within the document.
    fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        match node["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("references stay within the document");
                self.resolve(self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
            }
            None => node,
        }
    }

    fn judge(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = self.resolve(schema);
        let rules = schema.as_object().ok_or_else(|| format!("{at}: the schema is no object: {schema}"))?;
        if let Some(object) = value.as_object() {
            let known = self.known(schema);
            let strange = object.keys().find(|name| known.as_ref().is_some_and(|known| !known.contains(name)));
            if let Some(strange) = strange {
                return Err(format!("{at}/{strange}: the document does not name this field"));
            }
        }
        rules.iter().try_for_each(|(keyword, rule)| self.apply(keyword, rule, schema, value, at))
    }

    fn apply(&self, keyword: &str, rule: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let list = || rule.as_array().into_iter().flatten();
        let verdict =
            |holds: bool| if holds { Ok(()) } else { Err(format!("{at}: {keyword} {rule} does not hold for {value}")) };
        match keyword {
            "type" => verdict(names(rule).iter().any(|name| is_of(name, value))),
            "enum" => verdict(list().any(|known| known == value)),
            "minimum" => verdict(value.as_f64().zip(rule.as_f64()).is_none_or(|(value, least)| value >= least)),
            "maximum" => verdict(value.as_f64().zip(rule.as_f64()).is_none_or(|(value, most)| value <= most)),
            "maxLength" => verdict(value.as_str().is_none_or(|text| text.len() as u64 <= rule.as_u64().unwrap_or(0))),
            "required" => verdict(
                value
                    .as_object()
                    .is_none_or(|object| list().filter_map(Value::as_str).all(|name| object.contains_key(name))),
            ),
            "properties" => {
                let properties = rule.as_object().into_iter().flatten();
                let mut present = properties.filter_map(|(name, schema)| Some((name, schema, value.get(name)?)));
                present.try_for_each(|(name, schema, value)| self.judge(schema, value, &format!("{at}/{name}")))
            }
            "additionalProperties" => {
                let named = schema["properties"].as_object();
                let mut others = value.as_object().into_iter().flatten();
                others.try_for_each(|(name, value)| {
                    let other = rule.is_object() && !named.is_some_and(|named| named.contains_key(name));
                    if other { self.judge(rule, value, &format!("{at}/{name}")) } else { Ok(()) }
                })
            }
            "propertyNames" => value
                .as_object()
                .into_iter()
                .flatten()
                .try_for_each(|(name, _)| self.judge(rule, &Value::String(name.clone()), &format!("{at}/{name}"))),
            "items" => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                items.try_for_each(|(index, item)| self.judge(rule, item, &format!("{at}/{index}")))
            }
            // The fields of all parts together are known, so each part is judged without the question for strange ones.
            "allOf" => list().try_for_each(|part| {
                let part = self.resolve(part);
                let mut rules = part.as_object().into_iter().flatten();
                rules.try_for_each(|(keyword, rule)| self.apply(keyword, rule, part, value, at))
            }),
            "oneOf" | "anyOf" => {
                let fitting = list().filter(|choice| self.judge(choice, value, at).is_ok()).count();
                verdict(if keyword == "oneOf" { fitting == 1 } else { fitting > 0 })
            }
            _ if WORDS.contains(&keyword) => Ok(()),
            _ => Err(format!("{at}: this judge does not know the keyword {keyword}")),
        }
    }

    /// The fields that an object may have; nothing where it may have any.
    fn known(&self, schema: &Value) -> Option<Vec<String>> {
        let schema = self.resolve(schema);
        if schema.get("additionalProperties").is_some() {
            return None;
        }
        let own = schema["properties"].as_object().map(|own| own.keys().cloned().collect::<Vec<_>>());
        let parts = schema["allOf"].as_array().into_iter().flatten().map(|part| self.known(part));
        match own {
            Some(own) => parts.chain([Some(own)]).collect::<Option<Vec<_>>>().map(|lists| lists.concat()),
            None if schema["allOf"].is_array() => parts.collect::<Option<Vec<_>>>().map(|lists| lists.concat()),
            None => None,
        }
    }
}

fn names(rule: &Value) -> Vec<&str> {
    match rule {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn the_judge_finds_what_does_not_fit() {
    let document = Document(serde_json::json!({"components": {"schemas": {
        "Part": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}}},
        "Whole": {"allOf": [{"$ref": "#/components/schemas/Part"}, {"type": "object", "properties": {"b": {"type": ["string", "null"]}}}]},
        "Strange": {"not": {}}
    }}}));
    let whole = |value: Value| document.judge(&document.0["components"]["schemas"]["Whole"], &value, "");
    assert_eq!(whole(serde_json::json!({"a": 1, "b": null})), Ok(()));
    for wrong in [
        serde_json::json!({"b": "text"}),
        serde_json::json!({"a": -1}),
        serde_json::json!({"a": 1, "b": 2}),
        serde_json::json!({"a": 1, "c": 2}),
        serde_json::json!([]),
    ] {
        assert!(whole(wrong.clone()).is_err(), "{wrong}");
    }
    assert!(document.judge(&document.0["components"]["schemas"]["Strange"], &Value::Null, "").is_err());
}
