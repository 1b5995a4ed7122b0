//! A buyer of answers that audits hosts: `Client`, `Answer`, `Outcome`.

use crate::arrays::{self, Which};
use crate::errors;
use crate::evidence::{Evidence, pin};
use crate::files::os_error;
use crate::owner::to_python;
use crate::published::side_forms;
use crate::verifier::Limits;
use crate::work::long;
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rand_core::CryptoRng;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zkinfer_bench::economics::{Inputs, break_even_rate};
use zkinfer_client::{ClientError, Log, Options, Rate, ResumeError, Token};

/// Between two looks for proofs.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two looks for Ctrl-C.
const GLANCE: Duration = Duration::from_millis(50);

type Inner = zkinfer_client::Client<Box<dyn CryptoRng + Send>>;

/// A client of one model of one host, which audits it. Several threads may ask at the same time.
///
/// The slip of every answer is checked against the card and the host's key. Of a random share of the answers the proof
/// is asked for after they were signed, and verified against your input and the answer that you got.
///
/// Args:
///     url: Where the host is.
///     card: The model's :class:`Card`, the content of its file, or the file's path.
///     host_key: The host's key, 64 hexadecimal digits; from somebody whom you believe.
///     rate: Share of answers whose proof is asked for, from 0 to 1. Instead of ``gain`` and ``stake``.
///     gain: What a false answer that is accepted is worth to the host.
///     stake: What the host loses when it is caught, besides the reward.
///     reward: What the host is paid for an answer.
///     run_cost: What a run costs the host, which a false answer saves.
///     margin: How many times the rate at which lying stops to pay.
///     model: Name of the model at the host; the card's by default.
///     log: Path of an audit log, which is made if there is none. What is pending in it is gone on with.
///     token: What a host that asks for tokens knows this client by.
///     keys: The host's key list, by which it has handed over from ``host_key`` to newer ones: its file, or the content
///         of that.
///     timeout: How long an answer may take, in seconds.
///     clock_skew: How far the host's clock may be off, in seconds.
///     ask_for: How long after an answer its proof must be there to be asked for, at least, in seconds.
///     prove_within: How long a proof may take, at most, in seconds.
///     limits: What may be spent on the card and on proofs.
///
/// Raises:
///     InputError: An option that does not fit, or a log of another card or host.
///     DecodeError: The card cannot be read.
///     CardError: The card cannot be used.
///     OSError: The log cannot be opened, or another client writes to it.
#[pyclass(module = "zkinfer", frozen)]
pub struct Client {
    inner: Mutex<Option<Arc<Inner>>>,
    /// Connections and locks of a parent are not a forked child's.
    process: u32,
}

impl Client {
    fn get(&self, py: Python<'_>) -> PyResult<Arc<Inner>> {
        if self.process != std::process::id() {
            let message = "the client was made in another process: make one in this process";
            return Err(errors::input(py, message));
        }
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = inner.clone();
        inner.ok_or_else(|| errors::input(py, "the client is closed: make another one"))
    }

    fn outcomes(&self, py: Python<'_>) -> PyResult<Vec<Outcome>> {
        let inner = self.get(py)?;
        let settled = long(py, || inner.settle())?;
        let settled = settled.map_err(|e| error(py, e))?;
        let each = settled.into_iter();
        Ok(each
            .map(|(run, outcome)| Outcome {
                run: run.to_string(),
                outcome,
            })
            .collect())
    }
}

/// A length of time in seconds.
fn seconds(
    py: Python<'_>,
    name: &str,
    given: Option<f64>,
    default: Duration,
) -> PyResult<Duration> {
    let Some(given) = given else {
        return Ok(default);
    };
    // Beyond that, numbers of milliseconds are not exact any more.
    let fits = given > 0.0 && given < 1e12;
    let time = fits.then(|| Duration::from_secs_f64(given));
    time.ok_or_else(|| errors::input(py, format!("{name} is {given}, expected seconds above 0")))
}

/// The share of answers whose proof is asked for.
fn rate(
    py: Python<'_>,
    rate: Option<f64>,
    money: (Option<f64>, Option<f64>),
    reward: f64,
    run_cost: f64,
    margin: f64,
) -> PyResult<Rate> {
    let wrong = |e: &dyn std::fmt::Display| errors::input(py, e);
    let share = match (rate, money) {
        (Some(rate), (None, None)) => rate,
        (None, (Some(gain), Some(stake))) => {
            let mut inputs = Inputs::default();
            (inputs.gain, inputs.stake, inputs.reward) = (gain, stake, reward);
            inputs.sampling_margin = margin;
            let rate = break_even_rate(&inputs, run_cost, 0.0).map_err(|e| wrong(&e))?;
            let Some(rate) = rate else {
                return Err(wrong(&format!(
                    "no rate of audits deters a host that gains {gain} and loses {stake}: it has to have more at stake"
                )));
            };
            (rate * margin).min(1.0)
        }
        _ => return Err(wrong(&"give either rate, or gain and stake")),
    };
    Rate::new(share).map_err(|e| wrong(&e))
}

/// What a client cannot do.
fn error(py: Python<'_>, error: ClientError) -> PyErr {
    match error {
        ClientError::Input(error) => errors::tensor_of_host(py, error),
        ClientError::Wire(error) => errors::host(py, &error),
        ClientError::Unbound { ref evidence, .. } => {
            let evidence = evidence.as_deref().cloned().map(Evidence);
            errors::unbound(py, &error, evidence)
        }
        ClientError::Log(log) => os_error(log.path.as_ref(), &log.error),
        other => errors::internal(py, other),
    }
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url, card, host_key, *, rate=None, gain=None, stake=None, reward=0.0, run_cost=0.0, margin=2.0,
        model=None, log=None, token=None, keys=None, timeout=None, clock_skew=None, ask_for=None, prove_within=None, limits=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        py: Python<'_>,
        url: &str,
        card: &Bound<'_, PyAny>,
        host_key: &str,
        rate: Option<f64>,
        gain: Option<f64>,
        stake: Option<f64>,
        reward: f64,
        run_cost: f64,
        margin: f64,
        model: Option<String>,
        log: Option<PathBuf>,
        token: Option<&str>,
        keys: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        clock_skew: Option<f64>,
        ask_for: Option<f64>,
        prove_within: Option<f64>,
        limits: Option<&Limits>,
    ) -> PyResult<Client> {
        let rate = self::rate(py, rate, (gain, stake), reward, run_cost, margin)?;
        let mut options = Options::new(rate);
        options.timeout = seconds(py, "timeout", timeout, options.timeout)?;
        options.clock_skew = seconds(py, "clock_skew", clock_skew, options.clock_skew)?;
        options.ask_for = seconds(py, "ask_for", ask_for, options.ask_for)?;
        options.prove_within = seconds(py, "prove_within", prove_within, options.prove_within)?;
        let token = token.map(Token::new).transpose();
        options.token = token.map_err(|e| errors::input(py, e))?;
        let pinned = pin(card, host_key, keys, limits)?;
        let model = model.unwrap_or_else(|| pinned.interface().name.clone());
        let rng: Box<dyn CryptoRng + Send> = Box::new(zkinfer_client::rng());
        let made = long(py, move || match log {
            None => Ok(Inner::new(url, &model, pinned, options, Log::none(), rng)),
            Some(path) => Inner::resume(url, &model, pinned, options, &path, rng),
        })?;
        let inner = made.map_err(|e| match e {
            ResumeError::Log(log) => os_error(log.path.as_ref(), &log.error),
            other => errors::input(py, other),
        })?;
        Ok(Client {
            inner: Mutex::new(Some(Arc::new(inner))),
            process: std::process::id(),
        })
    }

    /// Asks the model. Whether a proof of the answer is asked for is drawn when it is there, and checked.
    ///
    /// Args:
    ///     x: One sample: an array, a list with an array for each input, or a dict by name.
    ///
    /// Raises:
    ///     InputError: An array that does not fit.
    ///     InferError: An input that the card cannot express.
    ///     HostError: The host cannot be reached, or has no answer.
    ///     UnboundError: The answer does not bind the host to what it says.
    fn infer(&self, x: &Bound<'_, PyAny>) -> PyResult<Answer> {
        let py = x.py();
        let inner = self.get(py)?;
        let interface = inner.pinned().interface();
        let inputs = arrays::sample(x, &side_forms(interface, Which::Input), Which::Input)?;
        let answer = long(py, || inner.infer(&inputs))?;
        let answer = answer.map_err(|e| error(py, e))?;
        Ok(Answer {
            answer,
            client: inner,
        })
    }

    /// Looks for promised proofs, and verifies those that are there. What has come of each, those that are still
    /// pending aside. A host that cannot be reached has until its proofs are due.
    fn settle(&self, py: Python<'_>) -> PyResult<Vec<Outcome>> {
        self.outcomes(py)
    }

    /// Looks for promised proofs until none is pending, or for ``timeout`` seconds; what :meth:`settle` said meanwhile.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<Outcome>> {
        let time = timeout.map(|t| match t {
            0.0 => Ok(Duration::ZERO),
            t => seconds(py, "timeout", Some(t), PAUSE),
        });
        let start = Instant::now();
        let time = time.transpose()?;
        let over = || time.is_some_and(|time| start.elapsed() >= time);
        let mut all = Vec::new();
        loop {
            all.extend(self.outcomes(py)?);
            if self.pending(py)? == 0 || over() {
                return Ok(all);
            }
            let until = Instant::now() + PAUSE;
            while Instant::now() < until && !over() {
                py.check_signals()?;
                py.detach(|| std::thread::sleep(GLANCE));
            }
        }
    }

    /// How many promised proofs have not been settled.
    #[getter]
    fn pending(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.get(py)?.pending())
    }

    /// Lets go of the log. What is pending stays in it.
    fn close(&self) {
        let inner = self.inner.lock();
        inner.unwrap_or_else(PoisonError::into_inner).take();
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }
}

/// An answer that binds the host.
#[pyclass(module = "zkinfer", frozen)]
pub struct Answer {
    answer: zkinfer_client::Answer,
    client: Arc<Inner>,
}

#[pymethods]
impl Answer {
    /// The outputs, in the order of ``card.outputs``.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArrayDyn<f32>>>> {
        let forms = side_forms(self.client.pinned().interface(), Which::Output);
        arrays::arrays(py, &self.answer.outputs, &forms)
    }

    /// The output, where the model has one.
    #[getter]
    fn output<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        arrays::only(self.outputs(py)?, py, "output")
    }

    /// Name of the run.
    #[getter]
    fn run(&self) -> String {
        self.answer.slip.terms.run.to_string()
    }

    /// What the host signed.
    #[getter]
    fn slip<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Ok(to_python(py, &self.answer.slip)?.cast_into::<PyDict>()?)
    }

    /// What has come of asking for its proof; ``None`` if it was not drawn.
    #[getter]
    fn audit(&self) -> Option<Outcome> {
        let outcome = self.answer.audit.clone()?;
        let run = self.run();
        Some(Outcome { run, outcome })
    }

    fn __repr__(&self) -> String {
        let asked = if self.answer.audit.is_some() {
            ", asked about"
        } else {
            ""
        };
        format!("<Answer {}{asked}>", self.run())
    }
}

/// What has come of asking for a proof.
#[pyclass(module = "zkinfer", frozen)]
pub struct Outcome {
    run: String,
    outcome: zkinfer_client::Outcome,
}

#[pymethods]
impl Outcome {
    /// Name of the run.
    #[getter]
    fn run(&self) -> &str {
        &self.run
    }

    /// ``pending`` (it is promised), ``proven``, ``false`` (the proof shows that the answer is), ``overdue`` (it is not
    /// there in time, or what is there is no proof) or ``refused`` (it was not promised).
    #[getter]
    fn state(&self) -> &'static str {
        match self.outcome {
            zkinfer_client::Outcome::Pending { .. } => "pending",
            zkinfer_client::Outcome::Proven => "proven",
            zkinfer_client::Outcome::False(_) => "false",
            zkinfer_client::Outcome::Overdue(_) => "overdue",
            zkinfer_client::Outcome::Refused(_) => "refused",
            _ => "unknown",
        }
    }

    /// Until when a pending proof is promised, in milliseconds since the beginning of 1970.
    #[getter]
    fn due(&self) -> Option<u64> {
        match self.outcome {
            zkinfer_client::Outcome::Pending { due } => Some(due),
            _ => None,
        }
    }

    /// What shows it to others.
    #[getter]
    fn evidence(&self) -> Option<Evidence> {
        match &self.outcome {
            zkinfer_client::Outcome::False(evidence)
            | zkinfer_client::Outcome::Overdue(evidence)
            | zkinfer_client::Outcome::Refused(evidence) => Some(Evidence((**evidence).clone())),
            _ => None,
        }
    }

    fn __repr__(&self) -> String {
        format!("<Outcome {}: {}>", self.run, self.state())
    }
}
