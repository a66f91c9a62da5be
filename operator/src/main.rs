//! `worldstream-operator`: turns WorldStream resources into paced worker Jobs.

fn main() {}
