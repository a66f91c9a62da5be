//! The CustomResourceDefinitions as YAML, generated from the types. The files `crds/*.yaml` are
//! what this gives; a test compares them.

use kube::CustomResourceExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
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
            let body =
                serde_saphyr::to_string(&value).expect("JSON with text keys can be written as YAML");
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
