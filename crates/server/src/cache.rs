//! Checked cards, ready to verify with: bounded in number and memory, the one not used for longest goes first.

use crate::api::App;
use crate::cost::Cost;
use crate::store::{Keeper, now};
use lru::LruCache;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zkinfer_circuits::card::{Card, Segment};
use zkinfer_circuits::error::{CardError, LayoutError};
use zkinfer_circuits::program::{Node, Weights};
use zkinfer_circuits::receipt::Refusal;
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Limits, Plan, Verifier};
use zkinfer_http::problem::Problem;
use zkinfer_http::turns::Turns;
use zkinfer_interface::Interface;
use zkinfer_verifier::LoadError;
use zkinfer_verifier::params::ParamsError;

/// Cards of which is remembered that they are beyond the limits.
const REFUSED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// Seconds between notes on disk that a card is used.
const TOUCH: u64 = 60;

/// A checked card with what is made from it once.
#[derive(Debug)]
pub struct Model {
    pub verifier: Verifier,
    /// What its integers stand for, or why that cannot be said.
    pub interface: Result<Interface, String>,
    pub cost: Cost,
    pub keeper: Keeper,
    /// What one run of a receipt takes in memory.
    receipt: usize,
    /// Second of the Unix epoch at which its use was last written down.
    touched: AtomicU64,
}

impl Model {
    pub fn new(verifier: Verifier, keeper: Keeper) -> Model {
        let interface = Interface::from_card(verifier.card()).map_err(|e| e.to_string());
        Model {
            receipt: receipt(&verifier, interface.as_ref().ok()),
            interface,
            cost: Cost::of(&verifier),
            verifier,
            keeper,
            touched: AtomicU64::new(now()),
        }
    }

    /// What a receipt about so many runs takes in memory, about: a card may say more of a run than the run has bytes.
    pub fn receipt(&self, runs: usize) -> usize {
        self.receipt.saturating_mul(runs)
    }

    /// What a description of it takes in memory, decoded and as text.
    pub fn description(&self) -> usize {
        8 * self.verifier.card().info.len()
    }
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Cache {
    /// The operator's cards, and those that anybody may have sent, so that these do not push out the others.
    operator: Mutex<Ready>,
    anybody: Mutex<Ready>,
    /// Why stored cards are beyond the limits by now: finding out takes as long as checking one.
    refused: Mutex<LruCache<[u8; 32], Problem>>,
    /// Cards that are being loaded, each once. A card of the operator's waits for none that anybody sent.
    loading: Turns<([u8; 32], Keeper)>,
}

#[derive(Debug)]
struct Ready {
    cards: LruCache<[u8; 32], (Arc<Model>, usize)>,
    bytes: usize,
    most_cards: usize,
    most_bytes: usize,
}

impl Ready {
    fn new(most_cards: usize, most_bytes: usize) -> Mutex<Ready> {
        Mutex::new(Ready {
            cards: LruCache::unbounded(),
            bytes: 0,
            most_cards,
            most_bytes,
        })
    }

    fn remove(&mut self, digest: &[u8; 32]) {
        if let Some((_, size)) = self.cards.pop(digest) {
            self.bytes -= size;
        }
    }

    fn keep(&mut self, model: &Arc<Model>) {
        let size = memory(model);
        let digest = model.verifier.digest().0;
        self.remove(&digest);
        self.cards.put(digest, (model.clone(), size));
        self.bytes += size;
        while self.cards.len() > 1
            && (self.cards.len() > self.most_cards || self.bytes > self.most_bytes)
        {
            let Some((_, (_, size))) = self.cards.pop_lru() else {
                break;
            };
            self.bytes -= size;
        }
    }
}

impl Cache {
    /// Half of the memory is for cards that anybody may have sent.
    pub fn new(cards: usize, bytes: usize) -> Cache {
        Cache {
            operator: Ready::new(cards, bytes / 2),
            anybody: Ready::new(cards, bytes / 2),
            refused: Mutex::new(LruCache::new(REFUSED)),
            loading: Turns::default(),
        }
    }

    /// A card that is ready.
    pub fn find(&self, digest: &Digest) -> Option<Arc<Model>> {
        let find = |half| Some(lock(half).cards.get(&digest.0)?.0.clone());
        find(&self.operator).or_else(|| find(&self.anybody))
    }

    fn refused(&self) -> MutexGuard<'_, LruCache<[u8; 32], Problem>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a card, at the cost of others of its half. The newest one always stays.
    pub fn keep(&self, model: &Arc<Model>) {
        // Another file of it may have been sent.
        self.refused().pop(&model.verifier.digest().0);
        match model.keeper {
            Keeper::Operator => {
                lock(&self.anybody).remove(&model.verifier.digest().0);
                lock(&self.operator).keep(model);
            }
            Keeper::Anybody => lock(&self.anybody).keep(model),
        }
    }

    /// Forgets cards that are not stored any more.
    pub fn forget(&self, digests: &[Digest]) {
        let mut anybody = lock(&self.anybody);
        digests.iter().for_each(|digest| anybody.remove(&digest.0));
    }

    /// Number and memory of the cards that are ready.
    pub fn totals(&self) -> (usize, usize) {
        let of = |half: &Mutex<Ready>| {
            let half = lock(half);
            (half.cards.len(), half.bytes)
        };
        let (own, others) = (of(&self.operator), of(&self.anybody));
        (own.0 + others.0, own.1 + others.1)
    }
}

fn lock(ready: &Mutex<Ready>) -> MutexGuard<'_, Ready> {
    // The counter may be off by one entry after a panic; nothing depends on it but when entries go.
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The verifier of a stored card, from memory or made anew.
///
/// # Errors
/// An unknown card; one that is beyond the limits by now; a damaged store; too many cards to load.
pub async fn model(app: &Arc<App>, client: IpAddr, digest: &Digest) -> Result<Arc<Model>, Problem> {
    if let Some(model) = app.cache.find(digest) {
        app.metrics.cache_hits.inc();
        touch(app, &model);
        return Ok(model);
    }
    let (store, wanted) = (app.store.clone(), *digest);
    let keeper = zkinfer_http::lane::aside(move || store.keeper(&wanted)).await?;
    let Some(keeper) = keeper.map_err(|e| failed(&e))? else {
        return Err(unknown(digest));
    };
    if let Some(problem) = app.cache.refused().get(&digest.0) {
        return Err(problem.clone());
    }
    app.metrics.cache_misses.inc();
    let turn = app.cache.loading.take((digest.0, keeper)).await;
    if let Some(model) = app.cache.find(digest) {
        return Ok(model);
    }
    let shared = app.clone();
    let lane = match keeper {
        Keeper::Operator => &app.loads,
        Keeper::Anybody => &app.cards,
    };
    lane.run(app.asking(client, LOAD), move |_| {
        // Held until the card is there, even if nobody waits for it any more.
        let _turn = turn;
        load(&shared, &wanted, keeper)
    })
    .await?
}

/// What loading a card is thought to take.
pub const LOAD: Duration = Duration::from_millis(200);

/// Takes note that a card that may have to make room is used.
fn touch(app: &Arc<App>, model: &Arc<Model>) {
    let now = now();
    let before = model.touched.load(Ordering::Relaxed);
    if model.keeper == Keeper::Operator || now < before.saturating_add(TOUCH) {
        return;
    }
    model.touched.store(now, Ordering::Relaxed);
    let (store, digest) = (app.store.clone(), model.verifier.digest());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = store.touch(&digest, now) {
            tracing::error!(%error, "the store failed");
        }
    });
}

fn load(app: &App, digest: &Digest, keeper: Keeper) -> Result<Arc<Model>, Problem> {
    let bytes = app.store.card(digest).map_err(|e| failed(&e))?;
    let bytes = bytes.ok_or_else(|| unknown(digest))?;
    let damaged = |reason: String| {
        tracing::error!(card = %digest, reason, "the store holds a damaged card");
        Problem::internal()
    };
    let verifier = match check(&bytes, &app.config.limits) {
        Ok(verifier) => verifier,
        // Accepted under wider limits, if it is the card that was accepted.
        Err(refusal) if is_whole(&bytes, digest) => {
            let problem = Problem::refused(&refusal);
            app.cache.refused().put(digest.0, problem.clone());
            return Err(problem);
        }
        Err(refusal) => return Err(damaged(refusal.to_string())),
    };
    if verifier.digest() != *digest {
        return Err(damaged(format!("it is card {}", verifier.digest())));
    }
    let model = Arc::new(Model::new(verifier, keeper));
    app.cache.keep(&model);
    app.store.touch(digest, now()).map_err(|e| failed(&e))?;
    Ok(model)
}

/// Whether a file that is not used is the one that was kept: then the limits are narrower by now.
fn is_whole(bytes: &[u8], digest: &Digest) -> bool {
    Card::from_bytes(bytes, bytes.len()).is_ok_and(|card| card.digest() == *digest)
}

/// Decodes and checks a card.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<Verifier, Refusal> {
    let card = Card::from_bytes_within(bytes, limits)?;
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

/// About what a model takes in memory.
fn memory(model: &Model) -> usize {
    let card = model.verifier.card();
    let segments = model.verifier.segments().iter().zip(&card.segments);
    let segments = segments.map(|(known, card)| segment_memory(known.plan(), card));
    // The description, and what it is decoded into.
    let info = model.description();
    let generators = POINT << card.k;
    segments.sum::<usize>() + model.verifier.reading_memory() + info + generators
}

/// About what a segment takes.
fn segment_memory(plan: &Plan, card: &Segment) -> usize {
    let wires = plan.expanded.memory();
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
    let placed = plan.layout.placements.iter().flatten();
    let cells: usize = placed.map(|p| p.cells.memory()).sum();
    let rows: usize = plan.groups.iter().map(|g| 4 * g.rows.len()).sum();
    let points = 2 * (card.points.len() + card.fixed.len());
    let support = 2 * POINT * (card.support.halvings.len() + card.support.rounds.len() + 1);
    wires + plan.wiring.memory() + fixed + public + cells + rows + support + POINT * points + BASE
}

/// What one run of a receipt takes: its elements as integers, reals and steps, in lists and as text; names and steps of its
/// tensors as the card has them, twice for the same reason.
fn receipt(verifier: &Verifier, interface: Option<&Interface>) -> usize {
    let card = verifier.card();
    let elements = card.input_len() + card.output_len();
    let tensors = interface.map(|i| i.inputs.iter().chain(&i.outputs));
    let tensors = tensors.into_iter().flatten();
    let said: usize = tensors
        .map(|t| TENSOR + t.name.len() + 8 * t.scale.len())
        .sum();
    RUN + 40 * elements + 2 * said
}

/// What a run and a tensor of it take in a receipt besides.
const RUN: usize = 1 << 9;
const TENSOR: usize = 96;

/// Memory that a prepared point takes.
const POINT: usize = 160;

/// Key, gates and what else a verifier holds however small its card.
const BASE: usize = 1 << 18;
