//! The ONNX file: its bytes, its names, its bounds, and where in it a node came from.

pub(super) mod bfloat;
pub(super) mod bounds;
pub(super) mod decode;
pub(super) mod external;
pub(super) mod given;
pub(super) mod inputs;
pub(super) mod model;
pub(super) mod names;
pub(super) mod origin;
pub(super) mod outputs;
