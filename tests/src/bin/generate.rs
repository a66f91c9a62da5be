//! Writes every generated file of the project, or with `--check` says which are not what they
//! should be and ends with 1.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: generate [--check]");
            return ExitCode::from(2);
        }
    };
    let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut stale = 0;
    for (path, text) in worldstream_tests::generated::files() {
        let file = top.join(&path);
        if std::fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        stale += 1;
        if check {
            eprintln!("{path} is not what is generated");
            continue;
        }
        let written = match file.parent() {
            Some(folder) => std::fs::create_dir_all(folder),
            None => Ok(()),
        }
        .and_then(|()| std::fs::write(&file, text));
        if let Err(error) = written {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
        println!("{path}");
    }
    if check && stale > 0 {
        eprintln!("run: cargo run -p worldstream-tests --bin generate");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
