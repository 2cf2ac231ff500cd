//! The `meetpoint` program: arguments in, exit code out.

fn main() {}
