//! The JSON Schema of grant files, made of the same tables as the parser.

use serde_json::{Map, Value, json};

use crate::model::{Field, Kind, Need, Span};

use super::Targets;

const MOMENT: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$";

/// The schema of a grant file, draft 2020-12.
pub fn grant_schema(targets: &Targets) -> Value {
    let moment =
        |about: &str| json!({ "type": "string", "format": "date-time", "pattern": MOMENT, "description": about });
    let entries: Map<String, Value> = targets
        .iter()
        .map(|(name, target)| {
            let mut entry = entry(target.fields());
            entry.insert("description".into(), target.about().into());
            ((*name).to_owned(), Value::Object(entry))
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "grantd grant",
        "description": "Access that ends by itself: who asks, for what, why, for how long. The file's name is the grant's id: 3 to 64 of a-z, 0-9 and -, unique in the repository and never used again.",
        "type": "object",
        "additionalProperties": false,
        "required": ["requester", "purpose", "access"],
        "properties": {
            "requester": { "type": "string", "minLength": 1, "maxLength": 500, "description": "Who asks, such as a mail address. Text for people." },
            "purpose": { "type": "string", "minLength": 1, "maxLength": 500, "description": "Why, in one line, such as a ticket and its title." },
            "ttl": { "type": "string", "pattern": Span::PATTERN, "description": "How long from the start on: `90s`, `45m`, `8h`, `2d`. With `until` too, the earlier end counts; with neither, the configuration's `default_ttl`." },
            "until": moment("The end, RFC 3339 with an offset: 2026-11-21T02:00:00Z."),
            "from": moment("A later start than the merge."),
            "access": {
                "type": "array",
                "minItems": 1,
                "description": "What is asked for, one entry an access.",
                "items": { "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false, "properties": entries },
            },
        },
    })
}

fn entry(fields: &[Field]) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut choices: Vec<Value> = Vec::new();
    for Field { name, kind, need, about, example } in fields {
        let mut schema = match kind {
            Kind::Account => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
            Kind::Region => json!({ "type": "string", "pattern": "^[a-z0-9-]{5,32}$" }),
            Kind::Word(pattern) => json!({ "type": "string", "pattern": pattern.regex, "maxLength": pattern.longest }),
            Kind::Tags(keys, values) => {
                let value = json!({ "type": "string", "pattern": values.regex, "maxLength": values.longest });
                json!({
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": { "pattern": keys.regex, "maxLength": keys.longest },
                    "additionalProperties": { "anyOf": [value, { "type": "array", "minItems": 1, "items": value }] },
                })
            }
        };
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".into(), format!("{about} Such as `{example}`.").into());
        }
        properties.insert((*name).to_owned(), schema);
        match need {
            Need::Always => required.push(*name),
            Need::OneOf(_) => choices.push(json!({ "required": [name] })),
        }
    }
    let mut entry = Map::new();
    entry.insert("type".into(), "object".into());
    entry.insert("additionalProperties".into(), false.into());
    entry.insert("required".into(), json!(required));
    if !choices.is_empty() {
        entry.insert("oneOf".into(), Value::Array(choices));
    }
    entry.insert("properties".into(), Value::Object(properties));
    entry
}
