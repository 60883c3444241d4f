//! GitHub's published description of its interface: what may be asked, and what an answer looks like.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::server::Asked;

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let folder = std::env::var_os("GRANTD_SPECS").map(PathBuf::from).unwrap_or_else(|| {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from).join("specs")
    });
    let path = folder.join("openapi.json");
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run scripts/specs first", path.display()));
    let mut all: Value = serde_json::from_slice(&text).unwrap();
    all["paths"].as_object_mut().unwrap().retain(|path, _| path.starts_with("/repos/{owner}/{repo}"));
    all
});

/// By path and status: building one takes longer than a test.
static VALIDATORS: LazyLock<Mutex<BTreeMap<(String, u16), &'static Validator>>> = LazyLock::new(Mutex::default);

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(name) => resolve(DESCRIPTION.pointer(name.trim_start_matches('#')).unwrap()),
        None => value,
    }
}

/// The example that GitHub gives of a part of it.
pub fn example(name: &str) -> Value {
    DESCRIPTION["components"]["examples"][name]["value"].clone()
}

/// The path of the operation that is asked for. Fails if there is none that may be asked so.
pub fn operation(asked: &Asked) -> Result<String, String> {
    let Asked { method, path, query, .. } = asked;
    if method != "GET" {
        return Err(format!("{method} {path}: nothing but GET is asked"));
    }
    let fits = |template: &str| {
        let (parts, names) = (path.split('/').collect::<Vec<_>>(), template.split('/').collect::<Vec<_>>());
        parts.len() == names.len() && parts.iter().zip(names).all(|(part, name)| name.starts_with('{') || *part == name)
    };
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    // As GitHub reads it: a name goes before a place for any.
    let template = paths.keys().filter(|template| fits(template)).min_by_key(|template| template.matches('{').count());
    let template = template.ok_or_else(|| format!("{path} is no address of GitHub's"))?;
    let get = &paths[template]["get"];
    let mut known = BTreeSet::new();
    for parameter in get["parameters"].as_array().unwrap() {
        let parameter = resolve(parameter);
        let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
        let given = match place {
            "query" => query.get(name).map(String::as_str),
            "path" => {
                let at = template.split('/').position(|part| part == format!("{{{name}}}")).unwrap();
                path.split('/').nth(at)
            }
            "header" => asked.headers.get(name).map(String::as_str),
            other => panic!("a parameter in {other}"),
        };
        if place == "query" {
            known.insert(name);
        }
        match given {
            None if parameter["required"] == true => return Err(format!("{path} lacks {name}")),
            Some(given) => {
                let number = parameter["schema"]["type"] == "integer";
                let value = if number { given.parse::<u64>().map_or(json!(given), Value::from) } else { json!(given) };
                jsonschema::validate(&parameter["schema"], &value).map_err(|e| format!("{path}: {name}: {e}"))?;
            }
            None => {}
        }
    }
    match query.keys().find(|name| !known.contains(name.as_str())) {
        Some(unknown) => Err(format!("{path} knows no {unknown}")),
        None => Ok(template.clone()),
    }
}

/// Whether an answer looks like one of GitHub's.
pub fn check(template: &str, status: u16, body: &Value) -> Result<(), String> {
    let mut validators = VALIDATORS.lock().unwrap();
    let validator = validators.entry((template.into(), status)).or_insert_with(|| {
        let response = &DESCRIPTION["paths"][template]["get"]["responses"][status.to_string()];
        assert!(!response.is_null(), "{template} never answers {status}");
        let schema = resolve(response)["content"]["application/json"]["schema"].clone();
        Box::leak(Box::new(validator(schema)))
    });
    validator.validate(body).map_err(|e| format!("{template} {status}: {}: {e}", e.instance_path()))
}

fn validator(schema: Value) -> Validator {
    let mut schemas = Map::new();
    let mut wanted = Vec::new();
    let root = convert(&schema, &mut wanted);
    while let Some(name) = wanted.pop() {
        if !schemas.contains_key(&name) {
            let schema = convert(&DESCRIPTION["components"]["schemas"][&name], &mut wanted);
            assert!(!schema.is_null(), "no schema {name}");
            schemas.insert(name, schema);
        }
    }
    let whole = json!({ "allOf": [root], "components": { "schemas": schemas } });
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft7)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .build(&whole)
        .unwrap()
}

/// From the dialect of OpenAPI 3.0, in which `nullable` stands beside the type.
fn convert(schema: &Value, wanted: &mut Vec<String>) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| convert(item, wanted)).collect(),
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                wanted.push(name.strip_prefix("#/components/schemas/").unwrap().into());
            }
            let skip = ["nullable", "example", "examples", "default", "description", "title", "discriminator"];
            // Below `properties` these are names, not words.
            let mut new: Map<String, Value> = fields
                .iter()
                .filter(|(name, value)| !skip.contains(&name.as_str()) || (value.is_object() && *name != "example"))
                .map(|(name, value)| {
                    (name.clone(), if name == "enum" { value.clone() } else { convert(value, wanted) })
                })
                .collect();
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                new = Map::from_iter([("anyOf".into(), json!([{ "type": "null" }, new]))]);
            }
            Value::Object(new)
        }
        other => other.clone(),
    }
}
