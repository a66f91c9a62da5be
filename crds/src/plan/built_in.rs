//! The project's own files (`config/`), built into the program.

/// The text of a file of `config/`, such as `catalogue.yaml` or `profiles/local.yaml`.
pub fn text(name: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(file, _)| *file == name)
        .map(|(_, text)| *text)
}

/// What a built-in file is called in messages: `built-in:catalogue.yaml`.
pub fn name(file: &str) -> String {
    format!("built-in:{file}")
}

/// The files of the built-in profiles, the laxest first.
pub const PROFILES: [&str; 4] = [
    "profiles/local.yaml",
    "profiles/local_parity.yaml",
    "profiles/dev.yaml",
    "profiles/prod.yaml",
];

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Every built-in file: its path below `config/`, and its text.
        pub const FILES: &[(&str, &str)] = &[$((
            $name,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/", $name)),
        )),*];
    };
}

files!(
    "catalogue.yaml",
    "gate_map.yaml",
    "producer_allowlist.txt",
    "outputs/traffic_fraud.yaml",
    "outputs/traffic_baseline.yaml",
    "outputs/context_fraud.yaml",
    "outputs/context_baseline.yaml",
    "profiles/local.yaml",
    "profiles/local_parity.yaml",
    "profiles/dev.yaml",
    "profiles/prod.yaml",
    "schemas/envelope.schema.yaml",
    "schemas/run_receipt.schema.yaml",
    "schemas/pack_manifest.schema.yaml",
    "schemas/seal.schema.yaml",
    "schemas/control_message.schema.yaml",
    "schemas/ready_signal.schema.yaml",
    "schemas/run_facts.schema.yaml",
);
