//! The CustomResourceDefinitions as YAML, generated from the types. The files `crds/*.yaml` are
//! what this gives; a test compares them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{StreamProfile, WorldStream};

/// Every definition, as it is applied to a cluster.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![StreamProfile::crd(), WorldStream::crd()]
}

/// File name and text of every definition.
pub fn crd_yaml() -> Vec<(String, String)> {
    crds()
        .iter()
        .map(|crd| {
            let mut value =
                serde_json::to_value(crd).expect("a definition made of derived types is JSON");
            for version in value["spec"]["versions"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                settle(&mut version["schema"]["openAPIV3Schema"]);
            }
            let body = serde_saphyr::to_string(&value)
                .expect("JSON with text keys can be written as YAML");
            let head = "# Generated from crds/src: cargo run -p worldstream-tests --bin generate\n";
            (
                format!("{}.yaml", crd.spec.names.plural),
                format!("{head}{body}"),
            )
        })
        .collect()
}

/// What an API server knows of formats is `int32`, `int64`, `float`, `double` and the texts: it
/// warns of others, such as `uint32`, at every apply. And prose is one line: the line breaks in
/// it are those of our source.
fn settle(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    if let Some(Value::String(format)) = fields.get("format") {
        let known = match format.as_str() {
            "uint8" | "uint16" | "uint32" => Some("int64"),
            "uint64" => Some("int64"),
            _ => None,
        };
        if let Some(known) = known {
            fields.insert("format".into(), known.into());
        }
    }
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(settle);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(inner) {
            settle(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_is_generated() {
        for (name, text) in crd_yaml() {
            let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == text,
                "crds/{name} is stale: cargo run -p worldstream-tests --bin generate"
            );
        }
    }

    /// Calls `look` with the path and the schema of every field.
    fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
        look(path, schema);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), field, look);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items, look);
        }
    }

    #[test]
    fn every_field_is_explained_and_structural() {
        for (name, text) in crd_yaml() {
            let crd: Value = serde_saphyr::from_str(&text).unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let mut fields = 0;
            walk("", &schema["properties"]["spec"], &mut |path, field| {
                fields += 1;
                assert!(field["type"].is_string(), "{name}: {path} has no type");
                for word in ["anyOf", "oneOf", "allOf", "$ref", "additionalProperties"] {
                    assert!(field.get(word).is_none(), "{name}: {path} has {word}");
                }
                if let Some(format) = field.get("format").and_then(Value::as_str) {
                    let known = ["int32", "int64", "double", "date-time"];
                    assert!(known.contains(&format), "{name}: {path}: {format}");
                }
                if !path.ends_with("[]") {
                    let text = field["description"].as_str().unwrap_or_default();
                    assert!(
                        text.ends_with('.'),
                        "{name}: {path}: {text:?} is no sentence"
                    );
                }
            });
            assert!(fields > 15, "{name}: only {fields} fields were seen");
        }
    }
}
