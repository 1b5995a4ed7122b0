/** The package in Node. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { explain, fromHex, inspect, init, parseValues, Rejected, toHex, Verifier, verifyMany, ZkinferError } from "../dist/verifier/node.js";
import { DIST, fixture, numbers, sealed, source } from "./common.mjs";

const { vectors_version: version, vectors } = JSON.parse(new TextDecoder().decode(fixture("rejections.json")));
const digits = await Verifier.load(fixture("digits.card"));

/** Expectations of the vectors, as this package writes them. */
const expectation = ({ context = "", ...sides }) => ({ ...sides, context: fromHex(context) });

test("vectors", async (t) => {
  assert.equal(version, 1);
  const classes = new Set();
  for (const vector of vectors) {
    await t.test(vector.name, async () => {
      const expected = vector.expected.map(expectation);
      const proof = source(vector.proof);
      let verdict;
      let statement;
      try {
        const verifier = await Verifier.load(source(vector.card));
        ({ statement } = verifier.verify(proof, expected));
        assert.equal(verifier.receipt(proof, expected).result.statement, statement);
        verdict = "valid";
      } catch (error) {
        assert.ok(error instanceof ZkinferError, `${error}`);
        verdict = { class: error.class, code: error.code };
        if (error instanceof Rejected) {
          assert.equal(error.receipt.result.outcome, "rejected");
          assert.equal(error.receipt.result.code, error.code);
        }
        const { title, sentence } = explain(error);
        assert.ok(title.length > 10 && sentence.length > 10 && sentence !== error.message, error.code);
      }
      assert.deepEqual(verdict, vector.verdict);
      assert.equal(statement, vector.statement);
      classes.add(verdict === "valid" ? verdict : verdict.class);
    });
  }
  assert.deepEqual([...classes].sort(), ["invalid_card", "invalid_proof", "malformed", "statement_mismatch", "unknown_model", "valid", "wrong_version"]);
});

test("many at once: the same receipts as one by one", async () => {
  const cnn = await Verifier.load(fixture("cnn.card"));
  const checks = [];
  for (const [verifier, name, context] of [
    [digits, "digits_0.proof", "digits"],
    [cnn, "cnn_0.proof", "cnn"],
    [digits, "digits_3.runs", "digits"],
    [digits, "digits_1.proof", "another"],
    [digits, "cnn_0.proof", "cnn"],
    [digits, "digits.card", "digits"],
    [digits, "digits_hidden.proof", "digits"],
  ]) {
    checks.push({ verifier, proof: fixture(name), expected: { context } });
  }
  // Enough of one model that the points of its proofs are summed up apart, and a forged one among them.
  for (let i = 0; i < 10; i++) checks.push({ verifier: digits, proof: fixture("digits_1.proof"), expected: [{ context: "digits" }] });
  const forged = fixture("digits_1.proof");
  forged[forged.length - 40] ^= 1;
  checks.push({ verifier: digits, proof: sealed(forged), expected: { context: "digits" } }, { verifier: digits, proof: fixture("digits_0.proof") });
  const together = verifyMany(checks);
  const alone = checks.map(({ verifier, proof, expected }) => verifier.receipt(proof, expected));
  assert.deepEqual(together, alone);
  const codes = together.map(({ result }) => (result.outcome === "accepted" ? "" : result.code));
  assert.deepEqual(codes, ["", "", "", "other_context", "unknown_model", "wrong_kind", "", ...Array(10).fill(""), "invalid_computation", "other_context"]);
  assert.deepEqual(verifyMany([]), []);
  assert.throws(() => verifyMany([{ verifier: digits, proof: "a path" }]), ZkinferError);
  assert.throws(() => verifyMany([{ verifier: digits, proof: forged, expected: { input: [1] } }]), ZkinferError);
});

test("an expectation that would not be compared is an error", () => {
  const proof = fixture("digits_0.proof");
  const { output } = digits.verify(proof, { context: "digits" }).runs[0];
  const wrong = { kind: "public", values: Array(10).fill(0) };
  for (const expected of [
    { outputs: wrong, context: "digits" },
    { Output: wrong, context: "digits" },
    { output: null, context: "digits" },
    { input: null, context: "digits" },
    { output, context: null },
    [{ output, contxt: "digits" }],
    [null],
    { output: { kind: "public", value: output.values }, context: "digits" },
    { output: { kind: "public", values: null }, context: "digits" },
    { output: { ...output, values: output.values, dgst: "" }, context: "digits" },
    { output: undefined, context: "digits" },
    { output: { ...output, digest: null }, context: "digits" },
    [[]],
    new Map([["output", wrong]]),
    Promise.resolve({ output: wrong }),
    Object.create({ output: wrong }),
  ]) {
    for (const check of [() => digits.verify(proof, expected), () => digits.receipt(proof, expected), () => verifyMany([{ verifier: digits, proof, expected }])]) {
      assert.throws(check, { name: "ZkinferError", class: "invalid_argument" }, JSON.stringify(expected));
    }
  }
  // Surplus integers are another output.
  const longer = { kind: "public", values: [...output.values, 0] };
  assert.throws(() => digits.verify(proof, { output: longer, context: "digits" }), { class: "statement_mismatch" });
});

test("a receipt says what was stated, and how reals are rounded", () => {
  const proof = fixture("digits_0.proof");
  const run = (expected) => digits.receipt(proof, { context: "digits", ...expected }).result.runs[0];
  const { input, output, stated, reals } = run({});
  assert.deepEqual(stated, []);
  assert.deepEqual(run({ output }).stated, ["output"]);
  assert.deepEqual(run({ input, output }).stated, ["input", "output"]);
  assert.deepEqual(digits.verify(proof, { input, context: "digits" }).runs[0].stated, ["input"]);
  const { scale, zeroPoint, name } = digits.card.interface.inputs[0];
  assert.deepEqual([reals.input[0].name, reals.input[0].step], [name, scale.map(Math.abs)]);
  assert.deepEqual(reals.input[0].values.map(Math.fround), input.values.map((q) => Math.fround(scale[0] * (q - zeroPoint[0]))));
  assert.equal(digits.receipt(fixture("digits_hidden.proof"), { context: "digits" }).result.runs[0].reals.input, undefined);
  // A card that rounds more coarsely than the caller puts up with.
  const values = [reals.input[0].values];
  assert.deepEqual(Array.from(digits.publicInput(values, scale[0]).values), input.values);
  assert.throws(() => digits.publicInput(values, scale[0] / 2), { class: "invalid_argument", code: "tensor_step" });
  assert.throws(() => digits.publicInput(values, NaN), { code: "tensor_step" });
});

test("reals and integers", () => {
  const verdict = digits.verify(fixture("digits_0.proof"), { context: "digits" });
  const [{ input, output, inputs, outputs }] = verdict.runs;
  assert.equal(new TextDecoder().decode(verdict.context), "digits");
  assert.deepEqual([inputs.length, inputs[0].length, outputs[0].length], [1, 64, 10]);
  const { scale, zeroPoint } = digits.card.interface.outputs[0];
  for (const [i, real] of outputs[0].entries()) assert.equal(real, Math.fround(scale[i] * (output.values[i] - zeroPoint[i])));
  // What comes out of a verdict states the same again.
  const again = { input: digits.publicInput(inputs), output: digits.publicOutput(outputs), context: "digits" };
  assert.deepEqual(Array.from(again.input.values), input.values);
  assert.deepEqual(Array.from(again.output.values), output.values);
  assert.equal(digits.verify(fixture("digits_0.proof"), again).statement, verdict.statement);
  // Records of a receipt are expectations, too.
  assert.equal(digits.verify(fixture("digits_0.proof"), { input, output, context: "digits" }).statement, verdict.statement);
  const code = (work) => {
    try {
      work();
    } catch (error) {
      return [error.class, error.code];
    }
    return "nothing";
  };
  assert.deepEqual(code(() => digits.publicInput([])), ["invalid_argument", "tensor_length"]);
  assert.deepEqual(code(() => digits.publicInput([Array(64).fill(5)])), ["invalid_argument", "tensor_range"]);
  assert.deepEqual(code(() => digits.publicInput([Array(64).fill(NaN)])), ["invalid_argument", "tensors"]);
  assert.deepEqual(code(() => digits.inputs([65536])), ["invalid_argument", "integers"]);
  assert.deepEqual(code(() => digits.inputs([1])), ["invalid_argument", "tensor_length"]);
  assert.deepEqual(code(() => digits.verify(fixture("digits_0.proof"), { context: "digits", input: { kind: "committed", points: ["00"] } })), ["invalid_argument", "expected"]);
});

test("an input that the proof leaves to the verifier", () => {
  const values = digits.claims(fixture("digits_1.proof")).runs[0].input.values;
  const input = { kind: "public", values: Uint16Array.from(values) };
  const verdict = digits.verify(fixture("digits_digest.proof"), { input, context: "digits" });
  assert.deepEqual(verdict.runs[0].input.values, values);
});

test("hidden sides and several runs", () => {
  const [{ input, outputs }] = digits.verify(fixture("digits_hidden.proof"), { context: "digits" }).runs;
  assert.deepEqual([input.kind, outputs], ["committed", null]);
  assert.equal(digits.verify(fixture("digits_3.runs"), { context: "digits" }).runs.length, 3);
  const claims = digits.claims(fixture("digits_3.runs"));
  assert.ok(claims.segments === 1 && claims.runs.every(({ output }) => output.reals[0].length === 10));
});

test("a model of several segments", async () => {
  const card = await inspect(fixture("parts.card"));
  assert.equal(card.segments, 3);
  const parts = await Verifier.load(fixture("parts.card"));
  assert.equal(parts.verify(fixture("parts_0.proof"), { context: "parts" }).runs[0].outputs.length, 1);
  assert.equal(parts.verify(fixture("parts_3.runs"), { context: "parts" }).runs.length, 3);
});

test("inspection", async () => {
  const card = await inspect(fixture("cnn.card"));
  assert.deepEqual([card.kind, card.interface.name, card.interface.inputs[0].shape], ["card", "cnn", [1, 1, 8, 8]]);
  const proof = await inspect(fixture("digits_0.proof").buffer);
  assert.deepEqual([proof.kind, proof.card, toHex(new TextEncoder().encode("digits"))], ["proof", digits.card.digest, proof.context]);
  assert.equal((await inspect(new Uint8Array([...new TextEncoder().encode("zkinfer"), 0]))).kind, "model");
});

test("limits", async () => {
  const refused = (limits) => Verifier.load(fixture("digits.card"), { limits }).then(() => null, ({ code }) => code);
  assert.equal(await refused({}), null);
  assert.equal(await refused({ k: 8 }), "card_limit");
  assert.equal(await refused({ cardBytes: 100 }), "too_large");
  assert.equal(await refused({ points: 1 }), "card_limit");
  assert.equal(await refused({ slots: 10 }), "card_program");
  assert.equal(await refused({ surprises: 1 }), "limits");
  const small = await Verifier.load(fixture("digits.card"), { limits: { proofBytes: 100 } });
  assert.equal(small.receipt(fixture("digits_0.proof")).result.code, "too_large");
});

test("parameters: only the right ones, whoever brings them", async () => {
  // A fresh instance for every case: parameters are kept.
  const load = async (params) => {
    const fresh = await import(`../dist/verifier/verifier.js?${Math.random()}`);
    const stages = [];
    const verifier = await fresh.Verifier.load(fixture("cnn.card"), { params, onProgress: (stage) => stages.push(stage) });
    const { outcome } = verifier.receipt(fixture("cnn_0.proof"), { context: "cnn" }).result;
    return [verifier.preparation, stages, outcome];
  };
  const file = readFileSync(`${DIST}verifier/params/params-9.bin`);
  const other = readFileSync(`${DIST}verifier/params/params-8.bin`);
  const [good, stages, verdict] = await load(async () => file);
  assert.deepEqual([good.params, good.paramsProblem, verdict], ["file", null, "accepted"]);
  assert.deepEqual(stages, ["card-read", "params-fetch", "params-read", "card-check", "ready"]);
  // Two generators change places; another size; a file that is cut; a source that fails; none.
  const swapped = Buffer.from(file);
  file.copy(swapped, 14, 46, 78);
  file.copy(swapped, 46, 14, 46);
  const sources = [async () => swapped, async () => other, async () => file.subarray(0, 5000), () => Promise.reject(new Error("offline")), false];
  for (const source of sources.slice(0, 3)) {
    const [made, , outcome] = await load(source);
    assert.equal(made.params, "made");
    assert.match(made.paramsProblem, /./);
    assert.equal(outcome, "accepted");
  }
  for (const source of sources.slice(3)) {
    const [made, stages, outcome] = await load(source);
    assert.deepEqual([made.params, outcome], ["made", "accepted"]);
    assert.ok(stages.includes("params-make"));
  }
});

test("values as people have them", () => {
  const real = (tensors) => ({ kind: "real", tensors });
  assert.deepEqual(parseValues("1, 2\n3 4.5", [4]), real([[1, 2, 3, 4.5]]));
  assert.deepEqual(parseValues('{"input_data": [[1, 2], [3]]}', [2, 1]), real([[1, 2], [3]]));
  assert.deepEqual(parseValues("[[[1, 2], [3, 4]]]", [4]), real([[1, 2, 3, 4]]));
  assert.deepEqual(parseValues("[1, 2, 3]", [1, 2]), real([[1], [2, 3]]));
  assert.deepEqual(parseValues('{"kind": "public", "values": [7]}', [1]), { kind: "public", values: [7] });
  // Surplus integers are not dropped.
  assert.throws(() => parseValues('{"kind": "public", "values": [7, 8]}', [1]), { code: "values_length" });
  const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".padEnd(117) + "\n";
  const npy = Buffer.concat([Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, 118, 0]), Buffer.from(header), Buffer.from(new Float32Array([0.5, -2]).buffer)]);
  assert.deepEqual(parseValues(npy, [2]), real([[0.5, -2]]));
  for (const bad of ["", "1 two", "[1, null]", "{}", '{"input_data": 3}', "[1", "1 2 3", "null", "Infinity NaN", npy.subarray(0, 9), npy.subarray(0, 60)]) {
    assert.throws(() => parseValues(bad, [2]), { name: "ZkinferError", class: "invalid_argument" }, String(bad));
  }
});

test("no bytes stop the module", async () => {
  const pick = numbers(7);
  const proofs = ["digits_0.proof", "digits_hidden.proof", "digits_3.runs", "digits_digest.proof"].map(fixture);
  const card = fixture("digits.card");
  const changed = (bytes) => {
    const copy = bytes.slice(0, pick(4) === 0 ? pick(bytes.length) : bytes.length);
    for (let i = pick(3); i >= 0 && copy.length > 0; i--) copy[pick(copy.length)] ^= 1 << pick(8);
    return copy;
  };
  // Lengths and counts stand at the front of what they announce: huge ones, and ends in odd places.
  const resealed = (bytes) => {
    const copy = sealed(bytes.slice());
    assert.deepEqual(copy, bytes, "the stored files carry the same checksum");
    const at = 10 + pick(copy.length - 46);
    if (pick(2) === 0) copy[at] ^= 1 << pick(8);
    else copy.fill(255, at, at + 4);
    return sealed(pick(4) === 0 ? copy.slice(0, at + 32) : copy);
  };
  const judge = async (bytes) => {
    const { result } = digits.receipt(bytes, { context: "digits" });
    await inspect(bytes).catch((error) => assert.notEqual(error.class, "internal"));
    return result.outcome;
  };
  const reasons = new Set();
  const load = (bytes) =>
    Verifier.load(bytes).then(
      () => assert.fail("a changed card was accepted"),
      (error) => {
        assert.ok(["malformed", "wrong_version", "invalid_card"].includes(error.class), `${error}`);
        reasons.add(error.code);
      },
    );
  for (let i = 0; i < 1500; i++) assert.equal(await judge(changed(proofs[i % 4])), "rejected");
  for (let i = 0; i < 400; i++) assert.equal(await judge(resealed(proofs[i % 4])), "rejected");
  for (let i = 0; i < 500; i++) await load(changed(card));
  for (let i = 0; i < 200; i++) await load(resealed(card));
  assert.ok(reasons.size >= 5, [...reasons].join());
  // After all that it still works.
  assert.equal(digits.receipt(proofs[0], { context: "digits" }).result.outcome, "accepted");
});

test("whatever is no file", async () => {
  for (const nothing of [undefined, null, 7, "text", {}, [1, 2]]) {
    await assert.rejects(inspect(nothing), { class: "invalid_argument", code: "bytes" });
  }
  await assert.rejects(inspect(new Uint8Array()), { class: "malformed" });
  await init();
});
