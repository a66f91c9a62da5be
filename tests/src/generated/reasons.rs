//! The pages of reason codes and exit codes, from the table that the program uses.

use worldstream_crds::{ExitCode, Reason};

use super::{cell, head};

/// A section a reason code, after an index of all.
pub fn reason_codes() -> String {
    let mut text = head("Reason codes");
    text.push_str(
        "Every failure carries one of these codes: in the error on stderr, in `--json`, in the \
         summary and in `session.jsonl`. The code never changes; the text around it names the \
         object, the field, what was found and what was expected. The [exit code](exit-codes.md) \
         follows from the reason.\n\n\
         A code says what did not hold. Where the cause is outside (a file system or a store that \
         cannot be reached), the same code may end with exit code 13 instead.\n\n\
         | code | exit | meaning |\n| --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        text.push_str(&format!(
            "| [{reason}](#{}) | {} | {} |\n",
            reason.as_str().to_lowercase(),
            reason.exit_code().code(),
            cell(reason.meaning())
        ));
    }
    for reason in Reason::ALL {
        let exit = reason.exit_code();
        text.push_str(&format!(
            "\n## {reason}\n\n{}\n\n**What to do:** {}\n\nExit code {}: {}.\n",
            reason.meaning(),
            reason.advice(),
            exit.code(),
            meaning(exit)
        ));
    }
    text
}

/// A line an exit code, with the reasons that lead to it.
pub fn exit_codes() -> String {
    let mut text = head("Exit codes");
    text.push_str("| code | meaning |\n| --- | --- |\n");
    for (code, meaning) in ExitCode::ALL {
        text.push_str(&format!("| {} | {meaning} |\n", code.code()));
    }
    text.push_str(
        "\nA second Ctrl-C ends the process at once, with 130: what was saved before counts, and \
         the next start goes on from there. A crash ends with 101 or by a signal (128 + its \
         number).\n\n\
         What to do after each:\n\n\
         - 0: nothing.\n\
         - 2: correct the command line or the document; the message names the flag, or the file \
         with line and field.\n\
         - 10, 11: do not start again before the cause is mended: the next start would fail the \
         same way. The message has the [reason code](reason-codes.md).\n\
         - 12: look for the other process; see [CHECKPOINT_CONFLICT](reason-codes.md#checkpoint_conflict).\n\
         - 13: start again when the gate or the store is back; the replay goes on at its cursors.\n\
         - 14: start again whenever you like.\n",
    );
    for (code, _) in ExitCode::ALL {
        let reasons: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| reason.exit_code() == *code)
            .map(|reason| {
                let anchor = reason.as_str().to_lowercase();
                format!("[{reason}](reason-codes.md#{anchor})")
            })
            .collect();
        if !reasons.is_empty() {
            text.push_str(&format!(
                "\nReasons that end with {}: {}.\n",
                code.code(),
                reasons.join(", ")
            ));
        }
    }
    text
}

fn meaning(code: ExitCode) -> &'static str {
    ExitCode::ALL
        .iter()
        .find(|(one, _)| *one == code)
        .map_or("", |(_, meaning)| meaning)
}
