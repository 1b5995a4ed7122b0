//! `/v1/cards/{digest}`.

use super::proofs::json;
use super::{App, Shared, schema};
use crate::cache::{LOAD, Model, check, failed, model, unknown};
use crate::store::{Inserted, Keeper, now};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use utoipa::ToSchema;
use zkinfer_circuits::card::FORMAT_VERSION;
use zkinfer_circuits::transcript::Digest;
use zkinfer_http::access::Granted;
use zkinfer_http::body::{declared, read, unsupported};
use zkinfer_http::download::{self, Downloads, File, hold};
use zkinfer_http::guard::client_of as client;
use zkinfer_http::lane::aside;
use zkinfer_http::problem::Problem;
use zkinfer_interface::Interface;

const BYTES: &str = "application/octet-stream";

/// Add a card
///
/// The card is checked (format, architecture within the service's limits, support proof, digest) and kept; proofs of its
/// model can be verified from then on, also after a restart. Cards are never changed or removed: sending one again does
/// nothing.
#[utoipa::path(
    put,
    path = "/v1/cards/{digest}",
    tag = "cards",
    params(("digest" = schema::Digest, Path, description = "The card's digest.")),
    request_body(content = inline(schema::Bytes), content_type = "application/octet-stream",
        description = "The card file."),
    responses(
        (status = 200, description = "There is such a card already.", body = CardDescription),
        (status = 201, description = "The card is valid and kept.", body = CardDescription),
        (status = 400, description = "`malformed_digest`; or what is wrong with the bytes: `not_zkinfer`, `wrong_kind`, \
            `wrong_version`, `damaged`, `truncated`, `trailing_bytes`, `invalid_field`.",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthorized`: whoever adds cards needs a token that is known.",
            body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`read_only`: nobody adds cards to this service, or it has no token that would allow it; \
            `forbidden`: the token does not have the scope `cards`.",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The card cannot be used: `card_program`, `card_layout`, `card_limit`, \
            `card_points`, `card_support`, `card_key`, `card_boundary`; or it has another digest: `other_card`.",
            body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "`store_full`: no room for another card.",
            body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = []))
)]
pub async fn put_card(
    State(app): Shared,
    digest: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let wanted = parse(digest)?;
    let granted = request.extensions().get::<Granted>().is_some();
    let keeper = permitted(&app, granted, request.headers())?;
    let client = client(&request);
    if declared(request.headers(), &[BYTES]) == Some(false) {
        return Err(unsupported(BYTES));
    }
    let limit = app.config.limits.card_bytes;
    let received = read(request, &app.memory, limit, app.config.body_timeout).await?;
    let store = app.store.clone();
    let (known, received) = aside(move || {
        let known = store.keeper(&wanted).and_then(|kept| {
            let same = store.with_card(&wanted, |bytes| bytes == received.bytes.as_slice())?;
            Ok(kept.filter(|_| same == Some(true)))
        });
        (known, received)
    })
    .await?;
    let known = known.map_err(|e| failed(&e))?;
    if known.is_some_and(|kept| kept == Keeper::Operator || keeper == Keeper::Anybody) {
        let model = model(&app, client, &wanted).await?;
        let described = describe(StatusCode::OK, &model, received.bytes.len())?;
        return Ok(hold(described, received.share));
    }
    let shared = app.clone();
    let asking = app.asking(client, LOAD);
    let checked = app.cards.run(asking, move |_| {
        // With its share of the memory.
        let received = received;
        let added = add(&shared, Some(&wanted), &received.bytes, keeper)?;
        Ok((added, received.share))
    });
    let ((model, size, new), share) = checked.await??;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    // A description is no longer than the card.
    Ok(hold(describe(status, &model, size)?, share))
}

/// Checks and keeps a card; whether it is new.
pub fn add(
    app: &App,
    wanted: Option<&Digest>,
    bytes: &[u8],
    keeper: Keeper,
) -> Result<(Arc<Model>, usize, bool), Problem> {
    let verifier = check(bytes, &app.config.limits).map_err(|e| Problem::refused(&e))?;
    let digest = verifier.digest();
    if wanted.is_some_and(|wanted| *wanted != digest) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "other_card",
            format!("the card's digest is {digest}"),
        ));
    }
    let inserted = app.store.insert_card(&digest, bytes, keeper, now());
    let Inserted { new, gone } = inserted.map_err(|e| failed(&e))?;
    app.cache.forget(&gone);
    // One that was there may be kept by somebody else.
    let keeper = app.store.keeper(&digest).map_err(|e| failed(&e))?;
    let model = Arc::new(Model::new(verifier, keeper.unwrap_or(Keeper::Anybody)));
    app.cache.keep(&model);
    if new {
        tracing::info!(card = %digest, bytes = bytes.len(), "a card was added");
    }
    Ok((model, bytes.len(), new))
}

/// Get a card
///
/// The file; or, if `Accept` asks for `application/json`, what is in it: sizes, names, shapes and scales.
#[utoipa::path(
    get,
    path = "/v1/cards/{digest}",
    tag = "cards",
    params(("digest" = schema::Digest, Path, description = "The card's digest.")),
    responses(
        (status = 200, description = "The card.",
            content((inline(schema::Bytes) = "application/octet-stream"), (CardDescription = "application/json"))),
        (status = 400, description = "`malformed_digest`.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`unknown_card`.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The card is longer than the service's limit by now: `too_large`.",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The card is beyond the service's limits by now: `card_limit`, `card_program`.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn card(
    State(app): Shared,
    digest: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let digest = parse(digest)?;
    let client = client(&request);
    let file = file(&app, client, &digest).await?;
    let mut response = if wants_json(request.headers()) {
        let size = file.bytes().len();
        drop(file);
        let model = model(&app, client, &digest).await?;
        let mut share = app.memory.share(client);
        share.grow(model.description())?;
        hold(describe(StatusCode::OK, &model, size)?, share)
    } else {
        download::answer(file, BYTES)
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=86400"),
    );
    Ok(response)
}

/// The file of a card, from the store unless somebody is fetching it already.
async fn file(app: &Arc<App>, client: IpAddr, digest: &Digest) -> Result<Arc<File>, Problem> {
    let (store, wanted, share) = (app.store.clone(), *digest, app.memory.share(client));
    let read = move |downloads: &Downloads| {
        let file = store.with_card(&wanted, |bytes| downloads.keep(wanted.0, bytes, share));
        file.map_err(|e| failed(&e))?
            .ok_or_else(|| unknown(&wanted))?
    };
    app.downloads.get(digest.0, read).await
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    let mut ranges = accept
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    ranges.any(|range| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}

/// The digest in a path.
fn parse(path: Result<Path<String>, PathRejection>) -> Result<Digest, Problem> {
    use serde::Deserialize;
    use serde::de::value::{Error, StrDeserializer};
    let malformed =
        |reason: String| Problem::new(StatusCode::BAD_REQUEST, "malformed_digest", reason);
    let Path(digest) = path.map_err(|e| malformed(e.body_text()))?;
    Digest::deserialize(StrDeserializer::<Error>::new(&digest))
        .map_err(|e| malformed(e.to_string()))
}

/// Whether the sender may add cards, and who keeps them then.
fn permitted(app: &App, granted: bool, headers: &HeaderMap) -> Result<Keeper, Problem> {
    let refused = |detail| Problem::new(StatusCode::FORBIDDEN, "read_only", detail);
    if app.config.read_only {
        return Err(refused("cards of this service are chosen by its operator"));
    }
    // Its token was looked at before: it has the scope for cards.
    if granted {
        return Ok(Keeper::Operator);
    }
    match &app.config.token {
        Some(token) if has_token(headers, token) => Ok(Keeper::Operator),
        _ if app.config.open => Ok(Keeper::Anybody),
        Some(_) => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "whoever adds cards needs a token: Authorization: Bearer TOKEN",
        )),
        None => Err(refused(
            "nobody adds cards to this service: it has no token, and is not open to all",
        )),
    }
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    let given = given.and_then(|v| v.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    // Hashes, so that the time of the comparison says nothing about the token.
    let hash = |text: &str| blake2b_simd::blake2b(text.trim().as_bytes());
    given.is_some_and(|(_, given)| hash(given) == hash(token))
}

/// What is in a card.
#[derive(Debug, Serialize, ToSchema)]
pub struct CardDescription {
    /// Its digest.
    #[schema(value_type = schema::Digest)]
    digest: Digest,
    /// Version of the format.
    format_version: u16,
    /// Length of the file.
    bytes: usize,
    /// Logarithm of the number of rows.
    k: u32,
    /// Parts of the model that are proven by themselves.
    segments: usize,
    /// Integers of a statement have this many bits.
    range_bits: u32,
    /// Advice columns of all segments.
    columns: usize,
    /// Points of the model commitment.
    points: usize,
    /// Integers of an input.
    inputs: usize,
    /// Integers of an output.
    outputs: usize,
    /// Names, shapes and scales; null if the card has none that fit.
    #[schema(value_type = Option<schema::Interface>)]
    interface: Option<Interface>,
}

fn describe(status: StatusCode, model: &Model, bytes: usize) -> Result<Response, Problem> {
    let verifier = &model.verifier;
    let card = verifier.card();
    json(
        status,
        &CardDescription {
            digest: verifier.digest(),
            format_version: FORMAT_VERSION,
            bytes,
            k: card.k,
            segments: card.segments.len(),
            range_bits: card.range_bits(),
            columns: verifier.columns(),
            points: card.points(),
            inputs: card.input_len(),
            outputs: card.output_len(),
            interface: model.interface.as_ref().ok().cloned(),
        },
    )
}
