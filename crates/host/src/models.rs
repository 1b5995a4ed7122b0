//! What is served: models by name, and by version, which is the digest of the card.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use zkinfer::interface::{CardInfoError, Interface};
use zkinfer::{Digest, ProveError, Secret};
use zkinfer_http::problem::Problem;

/// Longest name of a model.
const NAME: usize = 256;

/// Why a model is not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Its card does not say what its inputs and outputs are.
    #[error(transparent)]
    Interface(#[from] CardInfoError),
    /// Its keys cannot be made.
    #[error(transparent)]
    Keys(#[from] ProveError),
    /// There is no name to ask for it by.
    #[error(
        "the name {name:?} cannot be asked for: a name has 1 to {NAME} bytes, none of them a slash or a control character; give one, NAME=FILE"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is such a model already.
    #[error("the model {name:?} is there twice, with the same card {card}")]
    Twice {
        /// Its name.
        name: String,
        /// Its card.
        card: Digest,
    },
}

/// A model that is served.
#[derive(Debug)]
pub struct Model {
    pub name: String,
    pub digest: Digest,
    pub secret: Secret,
    pub interface: Interface,
    /// The card's file.
    pub card: Vec<u8>,
    /// What a run takes, about.
    pace: Mutex<Duration>,
}

impl Model {
    /// What a run takes, about.
    pub fn pace(&self) -> Duration {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run took so long.
    pub fn took(&self, time: Duration) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = *pace / 8 * 7 + time / 8;
    }
}

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Models {
    names: BTreeMap<String, Vec<Arc<Model>>>,
}

impl Models {
    /// Serves a model by its own name or another one. Of several with one name, the last is the one that is meant where
    /// no version is said.
    pub fn add(&mut self, name: Option<&str>, secret: Secret) -> Result<Arc<Model>, ModelError> {
        let interface = Interface::from_card(secret.card())?;
        let name = name.unwrap_or(&interface.name).to_owned();
        let odd = |c: char| c == '/' || c.is_control();
        if name.is_empty() || name.len() > NAME || name.contains(odd) {
            return Err(ModelError::Name { name });
        }
        let digest = secret.card().digest();
        let versions = self.names.entry(name.clone()).or_default();
        if versions.iter().any(|m| m.digest == digest) {
            return Err(ModelError::Twice { name, card: digest });
        }
        secret.prepare()?;
        let model = Arc::new(Model {
            name,
            digest,
            card: secret.card().to_bytes(),
            secret,
            interface,
            pace: Mutex::new(Duration::from_millis(1)),
        });
        versions.push(model.clone());
        Ok(model)
    }

    /// All, by name; versions in the order in which they were added.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.names.values().flatten()
    }

    /// All versions of a model.
    pub fn versions(&self, name: &str) -> Result<&[Arc<Model>], Problem> {
        self.names.get(name).map(Vec::as_slice).ok_or_else(|| {
            unknown(format!(
                "there is no model {name:?}; POST /v2/repository/index lists them"
            ))
        })
    }

    /// A model, in a version or the last one.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<&Arc<Model>, Problem> {
        let versions = self.versions(name)?;
        let found = match version {
            Some(version) => versions.iter().find(|m| m.digest.to_string() == version),
            None => versions.last(),
        };
        found.ok_or_else(|| {
            let version = version.unwrap_or_default();
            unknown(format!(
                "the model {name:?} has no version {version:?}; GET /v2/models/{name} lists them"
            ))
        })
    }

    /// The model with a card.
    pub fn by_card(&self, digest: &Digest) -> Option<&Arc<Model>> {
        self.all().find(|m| m.digest == *digest)
    }
}

fn unknown(detail: String) -> Problem {
    Problem::new(axum::http::StatusCode::NOT_FOUND, "unknown_model", detail)
}
