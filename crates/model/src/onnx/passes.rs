//! What happens to a file before tract types it: a list of passes, in the order in which they run.

use std::collections::HashMap;
use std::path::Path;

use tract_onnx::pb::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto};

use super::file::bounds::{self, limit_nodes};
use super::file::decode::decode;
use super::file::model::Model;
use super::file::names::{distinct_nodes, tract_name};
use super::file::origin::Origin;
use super::file::outputs::{self, Choice};
use super::file::{given, inputs};
use super::operators;
use super::rewrite::inline::inline;
use super::rewrite::texts::Texts;
use super::rewrite::writer::{Facts, each_node};
use super::rewrite::{branches, integers, stored, traversal};
use super::settle::{self, Question};
use super::{ImportError, ImportOptions};

/// What a model is read for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To be lowered: operators that cannot be are refused early.
    Lower,
    /// To be run by tract.
    Run,
}

/// When a pass runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// First.
    Open,
    /// Then, and again whenever what decides between graphs became a constant.
    Inline,
    /// Last.
    Close,
    /// Last, and only where the model is to be lowered.
    Lower,
}

/// One step of the way.
struct Pass {
    name: &'static str,
    /// Why it is there, and why here.
    why: &'static str,
    phase: Phase,
    run: fn(&mut Draft) -> Result<(), ImportError>,
}

/// The whole way, in order.
const PASSES: &[Pass] = &[
    Pass {
        name: "number of nodes",
        why: "bounds what follows; what is written out only adds nodes",
        phase: Phase::Open,
        run: |draft| limit_nodes(draft.graph(), draft.options),
    },
    Pass {
        name: "names of nodes",
        why: "what is written out is named after its node: nodes that share a name lose it",
        phase: Phase::Open,
        run: |draft| {
            distinct_nodes(draft.graph_mut());
            Ok(())
        },
    },
    Pass {
        name: "inlining",
        why: "functions, and graphs inside nodes whose choice or number of rounds is known; the nodes inside take part in all that follows",
        phase: Phase::Inline,
        run: |draft| {
            let most = draft.options.max_nodes;
            inline(&mut draft.proto, draft.opset, most);
            Ok(())
        },
    },
    Pass {
        name: "known operators",
        why: "rewrites and tract go by names: what has the name of an operator of another domain is refused before",
        phase: Phase::Close,
        run: |draft| bounds::check_operators(draft.graph(), &draft.opsets),
    },
    Pass {
        name: "four bits",
        why: "tract has no such types; they are bytes from here on",
        phase: Phase::Close,
        run: |draft| {
            integers::unpack(draft.graph_mut());
            Ok(())
        },
    },
    Pass {
        name: "branches",
        why: "what is not taken need not be a number: operands are chosen before a quotient or a root is",
        phase: Phase::Close,
        run: |draft| {
            branches::rewrite(draft.graph_mut());
            Ok(())
        },
    },
    Pass {
        name: "casts of stored integers",
        why: "tract makes dimensions of them and loses \"up to the end\"",
        phase: Phase::Close,
        run: |draft| {
            stored::drop_casts(draft.graph_mut());
            Ok(())
        },
    },
    Pass {
        name: "casts to integers",
        why: "tract makes dimensions of them and divides those like real numbers",
        phase: Phase::Close,
        run: |draft| {
            stored::whole_casts(draft.graph_mut());
            Ok(())
        },
    },
    Pass {
        name: "lists of tensors",
        why: "tract has none; those that are read at stored positions are slices",
        phase: Phase::Close,
        run: |draft| {
            let opset = draft.opset;
            stored::sequences(draft.graph_mut(), opset);
            Ok(())
        },
    },
    Pass {
        name: "repairs",
        why: "what tract computes differently from ONNX, also for the float reference",
        phase: Phase::Close,
        run: |draft| {
            repair(draft);
            Ok(())
        },
    },
    Pass {
        name: "walks down trees",
        why: "they compare numbers that were picked; to be found they have to be as exporters write them",
        phase: Phase::Lower,
        run: |draft| {
            let opset = draft.opset;
            traversal::rewrite(draft.graph_mut(), opset);
            Ok(())
        },
    },
    Pass {
        name: "rewrites",
        why: "operators whose route is to be written out in plainer ones",
        phase: Phase::Lower,
        run: |draft| {
            let opset = draft.opset;
            draft.texts = write_out(draft.graph_mut(), opset);
            Ok(())
        },
    },
    Pass {
        name: "texts",
        why: "they are numbers by now, with which nothing else can be computed",
        phase: Phase::Lower,
        run: misused,
    },
    Pass {
        name: "operator set",
        why: "a model of nothing but machine-learning operators has others now",
        phase: Phase::Lower,
        run: |draft| {
            add_operator_set(draft);
            Ok(())
        },
    },
    Pass {
        name: "bounds",
        why: "what tract is about to allocate, and operators that should be gone; after all that adds nodes",
        phase: Phase::Close,
        run: |draft| {
            let lowered = draft.purpose == Purpose::Lower;
            let graph = draft.graph();
            draft.origins = bounds::check(graph, &draft.opsets, draft.options, lowered)?;
            Ok(())
        },
    },
    Pass {
        name: "inputs",
        why: "free dimensions get their lengths, without which nothing can be typed",
        phase: Phase::Close,
        run: |draft| {
            let options = draft.options;
            inputs::fix(draft.graph_mut(), options)
        },
    },
    Pass {
        name: "version",
        why: "without the version of the operator set nodes mean nothing",
        phase: Phase::Close,
        run: |draft| draft.version().map(|_| ()).ok_or_else(unversioned),
    },
];

fn malformed(reason: &str) -> ImportError {
    ImportError::Malformed {
        reason: reason.into(),
    }
}

fn unversioned() -> ImportError {
    malformed("no version of the ONNX operator set")
}

/// Decodes, bounds and repairs a model.
pub(super) fn read(
    bytes: &[u8],
    folder: Option<&Path>,
    options: &ImportOptions,
    purpose: Purpose,
) -> Result<Model, ImportError> {
    let mut draft = Draft::new(decode(bytes, folder, options)?, options, purpose)?;
    given::store(draft.graph_mut(), &options.given)?;
    draft.choice = outputs::choose(draft.graph_mut(), &options.outputs)?;
    outputs::separate(draft.graph_mut());
    draft.pass(Phase::Open)?;
    draft.pass(Phase::Inline)?;
    for _ in 0..settle::ROUNDS {
        let Some(question) = Question::of(&draft.proto) else {
            break;
        };
        // Where the part cannot be typed the question stays open, and its node is refused later.
        let answers = answer(&question, options).unwrap_or_default();
        if answers.is_empty() {
            break;
        }
        settle::settle(draft.graph_mut(), answers);
        draft.pass(Phase::Inline)?;
    }
    draft.finish()
}

/// Types the part of the model that a question is about. There is nothing to be inlined in it.
fn answer(
    question: &Question,
    options: &ImportOptions,
) -> Result<Vec<(String, TensorProto)>, ImportError> {
    let mut draft = Draft::new(question.part.clone(), options, Purpose::Run)?;
    draft.pass(Phase::Open)?;
    Ok(question.answers(&draft.finish()?.typed()?))
}

/// A model on its way.
struct Draft<'o> {
    proto: ModelProto,
    options: &'o ImportOptions,
    purpose: Purpose,
    /// Version of the ONNX operator set.
    opset: i64,
    /// Versions of all operator sets, by domain.
    opsets: HashMap<String, i64>,
    /// By the name that tract gives to the node.
    origins: HashMap<String, Origin>,
    /// Values that stand for texts.
    texts: Texts,
    /// The outputs that were chosen.
    choice: Choice,
}

impl<'o> Draft<'o> {
    fn new(
        proto: ModelProto,
        options: &'o ImportOptions,
        purpose: Purpose,
    ) -> Result<Self, ImportError> {
        let graph = proto.graph.as_ref().ok_or_else(|| malformed("no graph"))?;
        if graph.output.is_empty() {
            return Err(malformed("the graph has no output"));
        }
        let sets = proto.opset_import.iter();
        let mut draft = Draft {
            opset: 0,
            opsets: sets.map(|o| (o.domain.clone(), o.version)).collect(),
            origins: HashMap::new(),
            texts: Texts::default(),
            choice: Choice::default(),
            proto,
            options,
            purpose,
        };
        draft.opset = draft.version().unwrap_or(13);
        Ok(draft)
    }

    fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("there from the start")
    }

    fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.get_or_insert_default()
    }

    /// Version of the ONNX operator set, if the file says.
    fn version(&self) -> Option<i64> {
        let named = self.opsets.get("").or(self.opsets.get("ai.onnx"));
        named.copied()
    }

    /// Runs the passes of a phase; the last two are one list.
    fn pass(&mut self, phase: Phase) -> Result<(), ImportError> {
        let lower = phase == Phase::Close && self.purpose == Purpose::Lower;
        let due = |p: &&Pass| p.phase == phase || lower && p.phase == Phase::Lower;
        for Pass { name, why, run, .. } in PASSES.iter().filter(due) {
            tracing::trace!(pass = name, why, nodes = self.graph().node.len());
            run(self)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Model, ImportError> {
        self.pass(Phase::Close)?;
        Ok(Model {
            proto: self.proto,
            origins: self.origins,
            most: self.options.max_elements,
            texts: self.texts,
            choice: self.choice,
        })
    }
}

/// Writes out what tract would compute differently from ONNX, or not at all.
fn repair(draft: &mut Draft) {
    let opset = draft.opset;
    repair_graph(draft.graph_mut(), opset);
}

fn repair_graph(graph: &mut GraphProto, opset: i64) {
    let mut facts = Facts::of(graph);
    each_node(graph, opset, |node, writer| {
        for body in node.attribute.iter_mut().filter_map(|a| a.g.as_mut()) {
            repair_graph(body, opset);
        }
        operators::of(node)?.repair?(node, writer, &mut facts)
    });
}

/// Writes out what can be, also in the graphs inside nodes; nodes that cannot stay as they are and are refused later. Returns
/// the values that stand for texts.
fn write_out(graph: &mut GraphProto, opset: i64) -> Texts {
    let mut texts = Texts::default();
    texts.stored(graph);
    let mut facts = Facts {
        left_out: integers::left_out(graph),
        texts,
        ..Facts::of(graph)
    };
    each_node(graph, opset, |node, writer| {
        for body in node.attribute.iter_mut().filter_map(|a| a.g.as_mut()) {
            write_out(body, opset);
        }
        facts.texts.enter(node);
        operators::of(node)?.route.write()?(node, writer, &mut facts)
    });
    facts.texts
}

/// Refuses nodes that compute with texts.
fn misused(draft: &mut Draft) -> Result<(), ImportError> {
    let Some(name) = draft.texts.misused() else {
        return Ok(());
    };
    let reason = "texts can be moved and mapped to numbers, nothing else";
    let node = draft.graph().node.iter().find(|n| tract_name(n) == name);
    Err(node.map_or_else(
        || malformed(reason),
        |node| Origin::of(node, &draft.opsets).unsupported(reason),
    ))
}

fn add_operator_set(draft: &mut Draft) {
    if draft.version().is_none() {
        draft.proto.opset_import.push(OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        });
        draft.opsets.insert(String::new(), 13);
    }
}
