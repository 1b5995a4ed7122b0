//! What shows that the prover is right and that the verifier believes no lie.
//!
//! | module | what |
//! |---|---|
//! | `zoo` | small models with every kind of unit and wiring, and a check of all gates over a filled table |
//! | `cheats` | a lie for every gate that only it catches |
//! | `audit` | forgeries that reviews tried against the whole protocol |
//! | `constraints` | every constraint of every kind of lane, switched off: what catches it |
//! | `lies` | a lie for every check of the verifier |
//! | `mutations` | nothing of both can be left out; the tables of docs/protocol.md |
//! | `families` | products of activations, and weights that several nodes share |
//! | `gathers` | rows of tables that are looked up by their numbers |
//! | `hidden` | numbers of hidden activations: zero points, the factor of softmax |
//! | `chains` | chains with what their integers stand for |
//! | `equal` | all engines make the same bytes, of one run and of several |
//! | `random` | random networks: circuit, integer run and upstream agree |

mod audit;
mod chains;
mod cheats;
mod constraints;
mod equal;
mod families;
mod gathers;
mod hidden;
mod lies;
mod mutations;
mod random;
pub(crate) mod zoo;

pub(crate) use lies::statements::copies;

use super::*;
