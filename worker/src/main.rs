//! The program `worldstream`.

fn main() {}
