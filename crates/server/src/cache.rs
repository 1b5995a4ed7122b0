//! Checked cards, ready to verify with: bounded in number and memory, the one not used for longest goes first.

use crate::api::App;
use crate::problem::Problem;
use lru::LruCache;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zkinfer_circuits::card::Card;
use zkinfer_circuits::error::{CardError, LayoutError};
use zkinfer_circuits::program::{Node, Weights};
use zkinfer_circuits::receipt::Refusal;
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Limits, Verifier};
use zkinfer_verifier::LoadError;
use zkinfer_verifier::params::ParamsError;

/// Cards that are loaded at the same time, at most.
const STRIPES: usize = 64;

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Cache {
    ready: Mutex<Ready>,
    /// Whoever loads a card holds the lock that its digest selects, so that it is loaded once.
    loading: Vec<Arc<tokio::sync::Mutex<()>>>,
    cards: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Ready {
    cards: LruCache<[u8; 32], (Arc<Verifier>, usize)>,
    bytes: usize,
}

impl Cache {
    pub fn new(cards: usize, bytes: usize) -> Cache {
        Cache {
            ready: Mutex::new(Ready {
                cards: LruCache::unbounded(),
                bytes: 0,
            }),
            loading: (0..STRIPES).map(|_| Arc::default()).collect(),
            cards,
            bytes,
        }
    }

    /// A card that is ready.
    pub fn find(&self, digest: &Digest) -> Option<Arc<Verifier>> {
        Some(self.ready().cards.get(&digest.0)?.0.clone())
    }

    /// Keeps a card, at the cost of others. The newest one always stays.
    pub fn keep(&self, verifier: &Arc<Verifier>) {
        let size = memory(verifier);
        let mut ready = self.ready();
        let entry = (verifier.clone(), size);
        if let Some((_, before)) = ready.cards.put(verifier.digest().0, entry) {
            ready.bytes -= before;
        }
        ready.bytes += size;
        while ready.cards.len() > 1 && (ready.cards.len() > self.cards || ready.bytes > self.bytes)
        {
            let Some((_, (_, size))) = ready.cards.pop_lru() else {
                break;
            };
            ready.bytes -= size;
        }
    }

    /// Number and memory of the cards that are ready.
    pub fn totals(&self) -> (usize, usize) {
        let ready = self.ready();
        (ready.cards.len(), ready.bytes)
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        // The counter may be off by one entry after a panic; nothing depends on it but when entries go.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The verifier of a stored card, from memory or made anew.
///
/// # Errors
/// An unknown card; one that is beyond the limits by now; a damaged store; too many cards to load.
pub async fn verifier(app: &Arc<App>, digest: &Digest) -> Result<Arc<Verifier>, Problem> {
    if let Some(verifier) = app.cache.find(digest) {
        app.metrics.cache_hits.inc();
        return Ok(verifier);
    }
    let (store, wanted) = (app.store.clone(), *digest);
    let known = crate::lane::aside(move || store.has_card(&wanted)).await?;
    if !known.map_err(|e| failed(&e))? {
        return Err(unknown(digest));
    }
    app.metrics.cache_misses.inc();
    let stripe = &app.cache.loading[usize::from(digest.0[0]) % STRIPES];
    let turn = stripe.clone().lock_owned().await;
    if let Some(verifier) = app.cache.find(digest) {
        return Ok(verifier);
    }
    let shared = app.clone();
    app.loads
        .run(move || {
            // Held until the card is there, even if nobody waits for it any more.
            let _turn = turn;
            load(&shared, &wanted)
        })
        .await?
}

fn load(app: &App, digest: &Digest) -> Result<Arc<Verifier>, Problem> {
    let bytes = app.store.card(digest).map_err(|e| failed(&e))?;
    let bytes = bytes.ok_or_else(|| unknown(digest))?;
    let damaged = |reason: String| {
        tracing::error!(card = %digest, reason, "the store holds a damaged card");
        Problem::internal()
    };
    let verifier = match check(&bytes, &app.config.limits) {
        Ok(verifier) => verifier,
        // Accepted under wider limits.
        Err(refusal) if refusal.code() == "card_limit" => return Err(Problem::refused(&refusal)),
        Err(refusal) => return Err(damaged(refusal.to_string())),
    };
    if verifier.digest() != *digest {
        return Err(damaged(format!("it is card {}", verifier.digest())));
    }
    let verifier = Arc::new(verifier);
    app.cache.keep(&verifier);
    Ok(verifier)
}

/// Decodes and checks a card.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<Verifier, Refusal> {
    let card = Card::from_bytes(bytes, limits.card_bytes)?;
    zkinfer_verifier::verifier(card, limits).map_err(|error| match error {
        LoadError::Card(error) => error.into(),
        LoadError::Params(ParamsError::K { k, min, max }) => {
            CardError::Layout(LayoutError::K { k, min, max }).into()
        }
        _ => CardError::Key.into(),
    })
}

/// No such card.
pub fn unknown(digest: &Digest) -> Problem {
    Problem::new(
        axum::http::StatusCode::NOT_FOUND,
        "unknown_card",
        format!("there is no card {digest}; PUT it to /v1/cards/{digest}"),
    )
}

/// The store failed, or is full.
pub fn failed(error: &crate::store::StoreError) -> Problem {
    match error {
        crate::store::StoreError::Full { .. } => Problem::new(
            axum::http::StatusCode::INSUFFICIENT_STORAGE,
            "store_full",
            error.to_string(),
        ),
        _ => {
            tracing::error!(%error, "the store failed");
            Problem::internal()
        }
    }
}

/// About what a verifier takes in memory.
fn memory(verifier: &Verifier) -> usize {
    let plan = verifier.plan();
    let card = verifier.card();
    let wires = plan.expanded.values.iter().flatten();
    let wires: usize = wires.map(|w| 64 + 4 * w.slots.capacity()).sum();
    let fixed: usize = plan.fixed.iter().map(|column| 4 * column.capacity()).sum();
    let public = card.program.nodes.iter().filter_map(|node| match node {
        Node::Neurons(neurons) => Some(&neurons.terms),
        _ => None,
    });
    let public = public.flatten().map(|term| match &term.weights {
        Weights::Public(weights) => 8 * weights.capacity(),
        _ => 0,
    });
    // Program and plan hold a copy each of what is public.
    let public = 2 * public.sum::<usize>();
    let cells = 8 * plan.layout.slots.len();
    let rows: usize = plan.groups.iter().map(|g| 4 * g.rows.len()).sum();
    let points = (1usize << card.k) + 2 * card.points.len();
    wires + fixed + public + cells + rows + card.info.len() + POINT * points + BASE
}

/// Memory that a prepared point takes.
const POINT: usize = 160;

/// Key, gates and what else a verifier holds however small its card.
const BASE: usize = 1 << 18;
