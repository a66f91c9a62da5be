//! The page of the documents: every field of a StreamProfile, a WorldStream and a ReadyTrigger, from
//! the schemas.

use serde_json::Value;

use super::{cell, head};

/// The kinds that people write.
const WRITTEN: [&str; 3] = ["StreamProfile", "WorldStream", "ReadyTrigger"];

/// A table a document.
pub fn page() -> String {
    let mut text = head("Documents");
    text.push_str(
        "The documents that people write, as YAML, one or several in a file \
         (`worldstream run -f FILE`, `worldstream ready -f FILE`). An unknown field or a wrong value is refused with file, line \
         and field. The same schemas are in `crds/*.yaml`. Samples: `config/samples/`, and the \
         built-in profiles in `config/profiles/`.\n\n\
         A duration is a number with a unit, or several: `500ms`, `5s`, `1m30s`, `1h`. Fields \
         marked * are required where their parent is given.\n",
    );
    for crd in worldstream_crds::crds() {
        if !WRITTEN.contains(&crd.spec.names.kind.as_str()) {
            continue;
        }
        let value = serde_json::to_value(&crd).expect("a definition made of derived types is JSON");
        let spec = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        text.push_str(&format!(
            "\n## {}\n\n{}\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n",
            crd.spec.names.kind,
            cell(spec["description"].as_str().unwrap_or_default())
        ));
        fields("spec", spec, &mut text);
    }
    text
}

/// The kinds of the cluster: names, columns, rules, and every field that programs write.
pub fn resources() -> String {
    let mut text = head("Resources in a cluster");
    text.push_str(
        "Group `worldstream.io`, version `v1alpha1`, all namespaced, category `worldstream-all`. The \
         specs of WorldStream, StreamProfile and ReadyTrigger are on the page \
         [documents](documents.md). What a rule refuses, the API server refuses when the document is \
         applied; `kubectl explain` says \
         the same as these tables.\n",
    );
    for crd in worldstream_crds::crds() {
        let value = serde_json::to_value(&crd).expect("a definition made of derived types is JSON");
        let names = &value["spec"]["names"];
        let version = &value["spec"]["versions"][0];
        let kind = crd.spec.names.kind.as_str();
        let schema = &version["schema"]["openAPIV3Schema"];
        text.push_str(&format!(
            "\n## {kind}\n\n{}\n\n`kubectl get {}`, or `{}` for short.\n\n| column | | field | meaning |\n\
             | --- | --- | --- | --- |\n",
            cell(schema["description"].as_str().unwrap_or_default()),
            names["plural"].as_str().unwrap_or_default(),
            names["shortNames"][0].as_str().unwrap_or_default(),
        ));
        for column in version["additionalPrinterColumns"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let word = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
            let wide = if column["priority"] == 1 { "wide" } else { "" };
            text.push_str(&format!(
                "| {} | {wide} | `{}` | {} |\n",
                cell(&word("name")),
                word("jsonPath"),
                cell(&word("description"))
            ));
        }
        text.push_str("\n| rule of | message |\n| --- | --- |\n");
        for rule in worldstream_crds::rules::rules(kind) {
            let field = rule.field.unwrap_or_default();
            let path = [rule.path, field];
            let path: Vec<&str> = path
                .iter()
                .map(String::as_str)
                .filter(|it| !it.is_empty())
                .collect();
            let path = if path.is_empty() {
                "metadata.name".to_owned()
            } else {
                path.join(".")
            };
            text.push_str(&format!("| `{path}` | {} |\n", cell(&rule.message)));
        }
        let written = WRITTEN.contains(&kind);
        for part in ["spec", "status"] {
            let part_schema = &schema["properties"][part];
            if !part_schema.is_object() || (part == "spec" && written) {
                continue;
            }
            text.push_str(&format!(
                "\n### {part}\n\n{}\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n",
                cell(part_schema["description"].as_str().unwrap_or_default())
            ));
            fields(part, part_schema, &mut text);
        }
    }
    text
}

fn fields(path: &str, schema: &Value, text: &mut String) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let star = match required.contains(&name.as_str()) {
            true => " *",
            false => "",
        };
        let path = format!("{path}.{name}");
        let default = default(field);
        let meaning = field["description"].as_str().unwrap_or_default();
        // A column has it.
        let meaning = meaning.trim_end_matches(&format!(" Default: {default}."));
        text.push_str(&format!(
            "| `{path}`{star} | {} | {default} | {} |\n",
            cell(&kind(field)),
            cell(meaning)
        ));
        // What is as in a pod is explained where pods are.
        if ["affinity", "tolerations", "topologySpreadConstraints"].contains(&name.as_str()) {
            continue;
        }
        fields(&path, field, text);
        if field["items"]["properties"].is_object() {
            fields(&format!("{path}[]"), &field["items"], text);
        }
    }
}

/// `integer, 1 to 256`, `list of string`, ``one of `Hold`, `Fail` ``.
fn kind(field: &Value) -> String {
    let name = match field["type"].as_str().unwrap_or("quantity") {
        "array" => format!("list of {}", kind(&field["items"])),
        other => field["format"]
            .as_str()
            .filter(|format| *format == "date-time")
            .unwrap_or(other)
            .to_owned(),
    };
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<_> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect();
        return format!("one of {}", values.join(", "));
    }
    let bound = |name: &str| field[name].as_f64().map(|bound| bound.to_string());
    match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{name}, {low} to {high}"),
        (Some(low), None) => format!("{name}, {low} or more"),
        (None, Some(high)) => format!("{name}, at most {high}"),
        (None, None) => name,
    }
}

/// The default as YAML on one line; objects' defaults are those of their fields.
fn default(field: &Value) -> String {
    match &field["default"] {
        Value::Null | Value::Object(_) => String::new(),
        Value::String(text) => format!("`{text}`"),
        Value::Number(number) => format!("`{}`", number.as_f64().unwrap_or_default()),
        other => format!("`{other}`"),
    }
}
