//! macOS resolves Python's symbols when the module is loaded only if the linker is told so.

fn main() {
    #[cfg(feature = "extension")]
    pyo3_build_config::add_extension_module_link_args();
}
