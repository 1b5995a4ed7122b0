//! Honest hosts pass, lying ones are caught with evidence that third parties confirm, and lying clients frame nobody.

#[allow(dead_code, reason = "shared with the host's own tests")]
#[path = "../../../host/tests/host/common.rs"]
mod common;
#[path = "../../../server/tests/service/common/schema.rs"]
mod schema;

mod double;
mod economics;
mod frames;
mod honest;
mod lies;
mod resume;
