//! The native half of the Python package `zkinfer`: arrays, arguments, errors; everything else is in the Rust crates.
//!
//! | module | what |
//! |---|---|
//! | [`arrays`] | numpy arrays to the model's tensors and back |
//! | [`errors`] | every Rust error as an exception of `zkinfer.errors` |
//! | [`files`] | paths and bytes, bounded |
//! | [`work`] | long work without the interpreter's lock; progress; panics |
//! | [`model`] | `compile`, `Model` |
//! | [`owner`] | `Secret`, `Run` |
//! | [`jobs`] | proofs made by executors; what their workers call |
//! | [`published`] | `Card`, `Proof`, `Tensor`, `Commitment`, `Integers`, `Opening` |
//! | [`client`] | `Client`, `Answer`, `Outcome`: buying from hosts |
//! | [`evidence`] | `Evidence`, `audit` |
//! | [`verifier`] | `Limits`, `Verifier`, `Check`, `Verdict`, `Receipt`, `verify`, `verify_many` |

#![cfg(feature = "extension")]

mod arrays;
mod client;
mod errors;
mod evidence;
mod files;
mod jobs;
mod model;
mod owner;
mod published;
mod receipts;
mod verifier;
mod work;

use pyo3::prelude::*;

/// Native part of `zkinfer`; import that instead.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::client::{Answer, Client, Outcome};
    #[pymodule_export]
    use crate::evidence::{Evidence, audit};
    #[pymodule_export]
    use crate::jobs::{Segments, has_segment, keep_segment, run_job};
    #[pymodule_export]
    use crate::model::{Model, commit_quantized, compile};
    #[pymodule_export]
    use crate::owner::{Run, Secret};
    #[pymodule_export]
    use crate::published::{Card, Commitment, Integers, Opening, Proof, Tensor};
    #[pymodule_export]
    use crate::receipts::{Receipt, Verdict, VerifiedRun};
    #[pymodule_export]
    use crate::verifier::{Check, Limits, Receipts, Verifier, verify, verify_many};
    #[pymodule_export]
    use crate::work::limit_threads;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::work::remember_process();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
