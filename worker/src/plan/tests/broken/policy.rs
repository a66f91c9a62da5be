//! Policy files and rate plan files.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    vec![
        bad_list("", &["_list.yaml: holds 0 documents"]),
        bad_list("a", &["_list.yaml:1: expected a list of output ids"]),
        bad_list("version: 1\n", &["_list.yaml:1", "`output_ids` is missing"]),
        bad_list(
            "version: 1\noutputs: [a]\n",
            &["_list.yaml:2: outputs: unknown field"],
        ),
        bad_list("version: 1\noutput_ids: a\n", &["_list.yaml:2: output_ids"]),
        bad_list("- a\n- [b]\n", &["_list.yaml:2: [1]"]),
        bad_list("- a\n- 'b c'\n", &["_list.yaml:2: [1]: found \"b c\""]),
        bad_list("- a\n---\n- b\n", &["holds 2 documents"]),
        // Rate plan files.
        bad_rate_plan("", &["_rate.yaml: holds 0 documents"]),
        bad_rate_plan("rate: 5", &["_rate.yaml:1"]),
        bad_rate_plan(
            "- {start_offset_seconds: 0, burst_seconds: 1}",
            &["_rate.yaml:1: [0]", "`target_eps` is missing"],
        ),
        bad_rate_plan(
            "- start_offset_seconds: 0\n  target_eps: -5\n  burst_seconds: 1\n",
            &["_rate.yaml:2: [0].target_eps: found -5"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: -1, target_eps: 5, burst_seconds: 1}",
            &["[0].start_offset_seconds: found -1"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: 0, target_eps: 5, burst_seconds: -1}",
            &["[0].burst_seconds: found -1"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: 0, target_eps: 5, burst_seconds: 1, initial_tokens: -1}",
            &["[0].initial_tokens: found -1"],
        ),
        bad_rate_plan(
            "- {start_offset_seconds: 0, target_eps: .inf, burst_seconds: 1}",
            &["target_eps"],
        ),
    ]
}
