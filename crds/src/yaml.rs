//! The CustomResourceDefinitions as YAML, generated from the types. The files `crds/*.yaml` are
//! what this gives; a test compares them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{ReadyTrigger, StreamCheckpoint, StreamClock, StreamProfile, WorldStream};
use crate::{columns, rules};

/// Every definition, as it is applied to a cluster.
pub fn crds() -> Vec<CustomResourceDefinition> {
    definitions()
        .into_iter()
        .map(|value| serde_json::from_value(value).expect("a definition that was settled is one"))
        .collect()
}

/// File name and text of every definition.
pub fn crd_yaml() -> Vec<(String, String)> {
    definitions()
        .iter()
        .map(|value| {
            let body =
                serde_saphyr::to_string(value).expect("JSON with text keys can be written as YAML");
            let head = "# Generated from crds/src: cargo run -p worldstream-tests --bin generate\n";
            let plural = value["spec"]["names"]["plural"].as_str();
            (
                format!("{}.yaml", plural.unwrap_or_default()),
                format!("{head}{body}"),
            )
        })
        .collect()
}

/// Every definition: what the types give, settled.
fn definitions() -> Vec<Value> {
    [
        StreamProfile::crd(),
        WorldStream::crd(),
        StreamClock::crd(),
        StreamCheckpoint::crd(),
        ReadyTrigger::crd(),
    ]
    .iter()
    .map(|crd| {
        let mut value =
            serde_json::to_value(crd).expect("a definition made of derived types is JSON");
        let version = &mut value["spec"]["versions"][0];
        version["additionalPrinterColumns"] = columns::columns(&crd.spec.names.kind);
        let schema = &mut version["schema"]["openAPIV3Schema"];
        settle(schema);
        // A status is written whole, by programs.
        schema
            .pointer_mut("/properties/status")
            .map(without_defaults);
        if crd.spec.names.kind == "WorldStream" {
            // Without a cluster flags may give these; in one there is nothing else that could.
            schema["properties"]["spec"]["required"] = json!(["engineRunRoot", "profile"]);
        }
        rules::write(&crd.spec.names.kind, schema);
        without_refused_defaults(schema);
        tell_defaults(schema);
        value
    })
    .collect()
}

/// What a quantity is, and what its text looks like; a number is one as well.
const QUANTITY: (&str, &str) = (
    "A quantity, such as `250m` of CPU or `512Mi` of memory.",
    r"^[0-9]+(\.[0-9]*)?(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]+)?$",
);

/// Makes a schema what an API server takes without a warning, and says no more than is meant.
///
/// Of formats it knows `int32`, `int64`, `float`, `double` and the texts, and warns of others, such
/// as `uint32`, at every apply. A field that may be left out is not one that may be null: null
/// would pass for a value in a rule (`has` is true of it). Prose is one line: the line breaks in
/// it are those of our source.
fn settle(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::String(format)) = fields.get("format") {
        match format.as_str() {
            "uint8" | "uint16" | "uint32" | "uint64" => {
                fields.insert("format".into(), "int64".into());
            }
            _ => {}
        }
    }
    fields.remove("nullable");
    // What is unknown is refused or dropped by the server anyway, and `false` is no schema there.
    if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
        fields.remove("additionalProperties");
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        // The type's own words fill three pages, and let any text pass.
        fields.insert("description".into(), QUANTITY.0.into());
        fields.insert("pattern".into(), QUANTITY.1.into());
    }
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    inner(schema).for_each(settle);
}

/// Takes every default away.
fn without_defaults(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("default");
        inner(schema).for_each(without_defaults);
    }
}

/// Takes the default of an object away that is empty where exactly one of its fields must be given:
/// the server would refuse the definition, as what it fills in breaks the rule.
fn without_refused_defaults(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        let empty = fields.get("default") == Some(&json!({}));
        let rules = fields.get("x-kubernetes-validations");
        let mut rules = rules.and_then(Value::as_array).into_iter().flatten();
        let one = |rule: &Value| {
            rule["rule"]
                .as_str()
                .is_some_and(|it| it.contains("exists_one"))
        };
        if empty && rules.any(one) {
            fields.shift_remove("default");
        }
        inner(schema).for_each(without_refused_defaults);
    }
}

/// Says each default in the field's own words, unless they do: `kubectl explain` shows no other.
fn tell_defaults(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    let told = match fields.get("default") {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        // As people write them: 1 and not 1.0.
        Some(Value::Number(number)) => number.as_f64().map(|number| number.to_string()),
        _ => None,
    };
    if let (Some(told), Some(Value::String(text))) = (told, fields.get_mut("description"))
        && !["default", "Left out"].iter().any(|it| text.contains(it))
    {
        text.push_str(&format!(" Default: `{told}`."));
    }
    inner(schema).for_each(tell_defaults);
}

/// The schemas of a schema's fields, elements and values.
fn inner(schema: &mut Value) -> impl Iterator<Item = &mut Value> {
    schema
        .as_object_mut()
        .into_iter()
        .flatten()
        .filter_map(|(word, value)| match word.as_str() {
            "properties" => value
                .as_object_mut()
                .map(|fields| fields.values_mut().collect()),
            "items" | "additionalProperties" if value.is_object() => Some(vec![value]),
            _ => None,
        })
        .flat_map(|schemas: Vec<&mut Value>| schemas)
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
        if let Some(values) = schema.get("additionalProperties") {
            walk(&format!("{path}{{}}"), values, look);
        }
    }

    #[test]
    fn every_field_is_explained_and_structural() {
        for (name, text) in crd_yaml() {
            let crd: Value = serde_saphyr::from_str(&text).unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let mut fields = 0;
            walk("", schema, &mut |path, field| {
                fields += 1;
                // A quantity is a text or a number, and says so in its own way.
                let quantity = field["x-kubernetes-int-or-string"] == true;
                assert!(
                    field["type"].is_string() || quantity,
                    "{name}: {path} has no type"
                );
                for word in ["anyOf", "oneOf", "allOf", "$ref", "nullable"] {
                    assert!(field.get(word).is_none(), "{name}: {path} has {word}");
                }
                for value in field["enum"].as_array().into_iter().flatten() {
                    assert!(value.is_string(), "{name}: {path} may be {value}");
                }
                if let Some(format) = field.get("format").and_then(Value::as_str) {
                    let known = ["int32", "int64", "double", "date-time"];
                    assert!(known.contains(&format), "{name}: {path}: {format}");
                }
                let named = !path.ends_with("[]") && !path.ends_with("{}");
                if named && path != ".metadata" && path != ".status" && !path.is_empty() {
                    let text = field["description"].as_str().unwrap_or_default();
                    assert!(
                        text.ends_with(['.', ')']),
                        "{name}: {path}: {text:?} is no sentence"
                    );
                }
            });
            assert!(fields > 15, "{name}: only {fields} fields were seen");
        }
    }
}
