//! Field arithmetic of every backend against `pasta_curves`, per element: `cargo bench -p zkinfer-kernels --bench field`.
fn main() {}
