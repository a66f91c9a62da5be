//! What a run says for the record: session.jsonl and receipts (contracts section 9).
