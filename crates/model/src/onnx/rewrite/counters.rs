//! Loops that count for themselves, as TensorFlow writes them: a state goes up by one each round, and the condition compares it
//! with a constant. The number of rounds is found by following the condition's scalars; the state becomes a function of the
//! round's number.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::loops;
use super::writer::{Known, attribute, decode, int, name_of};

/// Most nodes that one scalar depends on.
const DEEP: usize = 64;

/// Whole numbers up to here are the same in every type that is followed.
const EXACT: f64 = 16_777_216.0;

/// A state that is `first + step · round`.
struct Counter {
    /// Which of the loop's states.
    state: usize,
    first: f64,
    step: f64,
    data_type: i32,
}

struct Scalars<'g> {
    /// Constants, and whether each is a number without a dimension.
    values: HashMap<&'g str, (f64, bool)>,
    producers: HashMap<&'g str, &'g NodeProto>,
    /// `first`, `step` by name.
    moving: HashMap<&'g str, (f64, f64)>,
}

fn single(known: &Known) -> Option<f64> {
    match known.values.as_slice() {
        // Bytes wrap around.
        [v] if !matches!(known.data_type, 2 | 3) => Some(*v),
        _ => None,
    }
}

fn scalar(known: &Known) -> Option<(f64, bool)> {
    Some((single(known)?, known.dims.is_empty()))
}

/// A number after a cast, in types in which it is exact.
fn cast(node: &NodeProto, v: f64) -> Option<f64> {
    match attribute(node, "to")?.i {
        1 | 11 if v.abs() <= EXACT => Some(v),
        6 | 7 if v.abs() <= EXACT => Some(v.trunc()),
        9 => Some(f64::from(u8::from(v != 0.0))),
        _ => None,
    }
}

impl<'g> Scalars<'g> {
    fn of(body: &'g GraphProto, outside: &'g HashMap<String, Known>) -> Self {
        let mut values: HashMap<&str, (f64, bool)> = (outside.iter())
            .filter_map(|(name, k)| Some((name.as_str(), scalar(k)?)))
            .collect();
        // What the body calls the same is another value.
        let inputs = body.input.iter().map(|i| i.name.as_str());
        let results = body.node.iter().flat_map(|n| &n.output);
        for name in inputs.chain(results.map(String::as_str)) {
            values.remove(name);
        }
        let own = body.initializer.iter().map(|t| (t.name.as_str(), t));
        let constants = body.node.iter().filter(|n| n.op_type == "Constant");
        let constants = constants.filter_map(|n| {
            let tensor = attribute(n, "value")?.t.as_ref()?;
            Some((n.output.first()?.as_str(), tensor))
        });
        values.extend(
            own.chain(constants)
                .filter_map(|(name, t)| Some((name, scalar(&decode(t)?)?))),
        );
        let outputs = |n: &'g NodeProto| n.output.iter().map(move |o| (o.as_str(), n));
        Scalars {
            values,
            producers: body.node.iter().flat_map(outputs).collect(),
            moving: HashMap::new(),
        }
    }

    /// The name behind copies and casts between integers.
    fn source(&self, mut name: &'g str) -> &'g str {
        let same = |n: &NodeProto| {
            let whole = attribute(n, "to").is_some_and(|a| matches!(a.i, 6 | 7));
            n.op_type == "Identity" || (n.op_type == "Cast" && whole)
        };
        for _ in 0..DEEP {
            match self.producers.get(name) {
                Some(n) if same(n) => match n.input.first() {
                    Some(input) => name = input,
                    None => break,
                },
                _ => break,
            }
        }
        name
    }

    /// The number that a state goes up by.
    fn step(&self, before: &str, after: &'g str) -> Option<f64> {
        let node = self.producers.get(self.source(after))?;
        let [a, b] = node.input.as_slice() else {
            return None;
        };
        let (a, b) = (self.source(a), self.source(b));
        let other = match node.op_type.as_str() {
            "Add" if a == before => b,
            "Add" if b == before => a,
            _ => return None,
        };
        // A step with a dimension gives the state one.
        let (step, single) = *self.values.get(other)?;
        single.then_some(step)
    }

    /// A scalar in a round, if it is the same whatever type it has.
    fn value(&self, name: &str, round: i64, depth: &mut usize) -> Option<f64> {
        if let Some(&(first, step)) = self.moving.get(name) {
            return Some(first + step * round as f64);
        }
        if let Some(&(v, _)) = self.values.get(name) {
            return Some(v);
        }
        *depth = depth.checked_sub(1)?;
        let node = self.producers.get(name)?;
        let operands: Option<Vec<f64>> = (node.input.iter())
            .map(|i| self.value(i, round, depth))
            .collect();
        let truth = |t: bool| Some(f64::from(u8::from(t)));
        let operands = operands?;
        let exact = |v: &f64| v.fract() == 0.0 && v.abs() <= EXACT;
        if matches!(node.op_type.as_str(), "Add" | "Sub" | "Mul") && !operands.iter().all(exact) {
            return None;
        }
        let value: Option<f64> = match (node.op_type.as_str(), operands.as_slice()) {
            ("Identity", [a]) => Some(*a),
            ("Cast", [a]) => cast(node, *a),
            ("Not", [a]) => truth(*a == 0.0),
            ("Add", [a, b]) => Some(a + b),
            ("Sub", [a, b]) => Some(a - b),
            ("Mul", [a, b]) => Some(a * b),
            ("Less", [a, b]) => truth(a < b),
            ("LessOrEqual", [a, b]) => truth(a <= b),
            ("Greater", [a, b]) => truth(a > b),
            ("GreaterOrEqual", [a, b]) => truth(a >= b),
            ("Equal", [a, b]) => truth(a == b),
            ("And", [a, b]) => truth(*a != 0.0 && *b != 0.0),
            ("Or", [a, b]) => truth(*a != 0.0 || *b != 0.0),
            _ => None,
        };
        value.filter(|v| v.abs() <= EXACT)
    }
}

/// What counts, and how many rounds there are.
fn counted(
    node: &NodeProto,
    body: &GraphProto,
    outside: &HashMap<String, Known>,
    room: &mut usize,
) -> Option<(Vec<Counter>, i64)> {
    let states = node.input.len().checked_sub(2)?;
    if body.input.len() != states + 2 || body.output.len() < states + 1 {
        return None;
    }
    let given = |i: usize| {
        node.input
            .get(i)
            .filter(|n| !n.is_empty())
            .map(|n| outside.get(n))
    };
    let most = match given(0) {
        None => loops::ROUNDS + 1,
        Some(known) => single(known?)? as i64,
    };
    let most = most.min(loops::ROUNDS + 1);
    if most < 1 || given(1).is_some_and(|k| k.and_then(single) != Some(1.0)) {
        return None;
    }
    let mut scalars = Scalars::of(body, outside);
    let (number, condition) = (&body.input[0].name, &body.input[1].name);
    scalars.moving.insert(number, (0.0, 1.0));
    scalars.moving.insert(condition, (1.0, 0.0));
    let mut counters = Vec::new();
    for state in 0..states {
        let (before, after) = (&body.input[2 + state].name, &body.output[1 + state].name);
        let Some(first) = outside
            .get(&node.input[2 + state])
            .filter(|k| k.dims.is_empty())
        else {
            continue;
        };
        let Some(value) = single(first) else {
            continue;
        };
        let step = if scalars.source(after) == before.as_str() {
            0.0
        } else if let Some(step) = scalars.step(before, after) {
            step
        } else {
            continue;
        };
        let whole = value.fract() == 0.0 && step.fract() == 0.0;
        let reach = value.abs() + step.abs() * (loops::ROUNDS + 1) as f64;
        if whole && matches!(first.data_type, 6 | 7) && reach < f64::from(i32::MAX) {
            scalars.moving.insert(before, (value, step));
            counters.push(Counter {
                state,
                first: value,
                step,
                data_type: first.data_type,
            });
        }
    }
    let going = &body.output[0].name;
    for round in 0..most {
        let mut left = DEEP;
        let value = scalars.value(going, round, &mut left)?;
        *room = room.checked_sub(DEEP - left + 1)?;
        if value == 0.0 {
            return Some((counters, round + 1));
        }
    }
    Some((counters, most))
}

fn whole(name: String, value: i64) -> TensorProto {
    TensorProto {
        name,
        data_type: 7,
        int64_data: vec![value],
        ..TensorProto::default()
    }
}

/// Replaces what counts. What the loop's last states are, where they are constants, goes to `constants`. `room` is how many
/// scalars may still be computed.
pub(super) fn rewrite(
    node: &mut NodeProto,
    outside: &HashMap<String, Known>,
    constants: &mut Vec<TensorProto>,
    room: &mut usize,
) -> Option<()> {
    let body = attribute(node, "body")?.g.as_ref()?;
    let (counters, rounds) = counted(node, body, outside, room)?;
    if counters.is_empty() || rounds > loops::ROUNDS {
        return None;
    }
    let prefix = name_of(node);
    let mut body = body.clone();
    let number = body.input[0].name.clone();
    let mut first = Vec::new();
    for counter in counters.iter().rev() {
        let Counter { state, .. } = *counter;
        let name = |part: &str| format!("{prefix}.state{state}.{part}");
        let value = body.input.remove(2 + state).name;
        body.output.remove(1 + state);
        node.input.remove(2 + state);
        body.initializer
            .push(whole(name("step"), counter.step as i64));
        body.initializer
            .push(whole(name("first"), counter.first as i64));
        let mut add =
            |op: &str, input: Vec<String>, output: String, attribute: Vec<AttributeProto>| {
                first.push(NodeProto {
                    name: format!("{output}.node"),
                    op_type: op.into(),
                    input,
                    output: vec![output],
                    attribute,
                    ..NodeProto::default()
                });
            };
        add(
            "Mul",
            vec![number.clone(), name("step")],
            name("moved"),
            Vec::new(),
        );
        add(
            "Add",
            vec![name("moved"), name("first")],
            name("value"),
            Vec::new(),
        );
        let kind = vec![int("to", i64::from(counter.data_type))];
        add("Cast", vec![name("value")], value, kind);
        if state < node.output.len() {
            let last = node.output.remove(state);
            if !last.is_empty() {
                let value = counter.first + counter.step * rounds as f64;
                let mut tensor = whole(last, value as i64);
                if counter.data_type == 6 {
                    tensor.data_type = 6;
                    tensor.int32_data = vec![value as i32];
                    tensor.int64_data.clear();
                }
                constants.push(tensor);
            }
        }
    }
    first.append(&mut body.node);
    body.node = first;
    let lasting = format!("{prefix}.lasting");
    body.initializer.push(TensorProto {
        name: lasting.clone(),
        data_type: 9,
        int32_data: vec![1],
        ..TensorProto::default()
    });
    body.output[0].name = lasting;
    let count = format!("{prefix}.rounds");
    constants.push(whole(count.clone(), rounds));
    node.input[0] = count;
    node.attribute.iter_mut().find(|a| a.name == "body")?.g = Some(body);
    Some(())
}
