//! The page of conditions of streams and triggers: types and reasons, from the code.

use worldstream_crds::{ConditionReason, ConditionType};

use super::{cell, head};

/// A table of types, a table of reasons.
pub fn page() -> String {
    let mut text = head("Conditions of a WorldStream and of a ReadyTrigger");
    text.push_str(
        "`kubectl describe ws NAME` and `kubectl describe rt NAME` show them; `kubectl wait --for=condition=Completed ws/NAME` \
         waits for one. A condition that is about a failure has the failure's \
         [reason code](reason-codes.md) as its reason, the others one of those below.\n\n\
         | condition | when it is true |\n| --- | --- |\n",
    );
    for (kind, meaning) in ConditionType::ALL {
        text.push_str(&format!("| `{kind}` | {} |\n", cell(meaning)));
    }
    text.push_str("\n| reason | meaning | what to do |\n| --- | --- | --- |\n");
    for reason in ConditionReason::ALL {
        text.push_str(&format!(
            "| `{reason}` | {} | {} |\n",
            cell(reason.meaning()),
            cell(reason.advice())
        ));
    }
    text
}
