/** The page: files in, statement and verdict out. All work on files happens in the worker. */
import { fromHex, VerifierWorker, ZkinferError, explain, type Bytes, type Expected, type FileInfo, type ProofInfo, type PublicSide, type RemoteVerifier, type Stage } from "./verifier/client.js";
import { parseValues } from "./verifier/values.js";
import { bytesText, find, timeText } from "./dom.js";
import { showStatement, showTrust } from "./statement.js";
import { clearVerdict, showRefused, showValid } from "./verdict.js";

interface Loaded {
  name: string;
  bytes: Uint8Array;
}

type Slot = "card" | "proof" | "input";

/** As the limits of the verifier. */
const LARGEST_FILE = 1 << 26;
const EMPTY: Record<Slot, string> = { card: "none yet", proof: "none yet", input: "none: taken from the proof" };
const UNCHECKED = "This is what the proof claims. It is not checked yet.";
const STAGES: Record<Stage, [step: number, text: string]> = {
  "card-read": [0, "Reading the card …"],
  "params-fetch": [1, "Fetching parameters …"],
  "params-read": [2, "Reading parameters …"],
  "params-make": [2, "Making parameters: this takes some seconds, once …"],
  "card-check": [3, "Checking the card …"],
  ready: [4, "The card is ready"],
};

let worker = new VerifierWorker();
let verifier: RemoteVerifier | undefined;
let proof: (Loaded & { info: ProofInfo }) | undefined;
let input: Loaded | undefined;
/** Calls that take long and are not answered yet. */
let busy = 0;
/** Counts what was given, so that late answers about earlier files are dropped. */
let turn = 0;
/** The same for what the person expects. */
let question = 0;

const verifyButton = find<HTMLButtonElement>("verify");
const modelField = find<HTMLInputElement>("expect-model");
const contextField = find<HTMLInputElement>("expect-context");
const inputField = find<HTMLTextAreaElement>("expect-input");

function slot(which: Slot, state: "empty" | "busy" | "ready" | "bad", text = EMPTY[which]): void {
  const element = find(`slot-${which}`);
  element.dataset["state"] = state;
  const shown = element.querySelector(".slot-text");
  if (shown) shown.textContent = text;
}

function trouble(text: string): void {
  const note = find("trouble");
  note.textContent = text;
  note.hidden = text === "";
}

function reasonText(error: unknown): string {
  if (!(error instanceof ZkinferError)) return String(error);
  const { title, sentence } = explain(error);
  return `${title}. ${sentence} (${error.class} / ${error.code})`;
}

/** Files of any kind, in any order; what they are is written in them. */
async function take(files: Loaded[]): Promise<void> {
  const mine = ++turn;
  trouble("");
  clearVerdict();
  for (const file of files) {
    let info: FileInfo | undefined;
    try {
      info = await worker.inspect(file.bytes);
    } catch (error) {
      if (mine !== turn) return;
      if (!(error instanceof ZkinferError)) throw error;
      // Not a file of zkinfer: perhaps values. A name that says otherwise is believed.
      const values = error.code === "not_zkinfer" || error.code === "truncated";
      if (!values || /\.(card|proof|runs)$/.test(file.name)) {
        const which = /card/.test(file.name) ? "card" : "proof";
        forget(which);
        slot(which, "bad", `${file.name}: not usable`);
        showRefused(error, null);
        continue;
      }
    }
    if (mine !== turn) return;
    if (info === undefined) {
      input = file;
      slot("input", "ready", `${file.name}, ${bytesText(file.bytes.length)}`);
    } else if (info.kind === "card") {
      await prepare(file, mine);
    } else if (info.kind === "proof") {
      proof = { ...file, info };
      slot("proof", "ready", `${file.name}, ${bytesText(file.bytes.length)}${info.runs.length > 1 ? `, ${info.runs.length} runs` : ""}`);
    } else if (info.kind === "model") {
      trouble(`${file.name} is a model with its weights, the owner’s secret. It was not sent anywhere, but nobody else should get it: give the card instead.`);
    } else {
      trouble(`${file.name} is a file of zkinfer, but neither a card nor a proof.`);
    }
    if (mine !== turn) return;
  }
  await refresh();
}

async function prepare(file: Loaded, mine: number): Promise<void> {
  forget("card");
  slot("card", "busy", `${file.name}, ${bytesText(file.bytes.length)}`);
  const bar = find<HTMLProgressElement>("preparing-bar");
  const row = find("preparing");
  row.hidden = false;
  try {
    busy++;
    const loaded = await worker.load(file.bytes, {
      onProgress: (stage) => {
        const [step, text] = STAGES[stage];
        bar.value = step;
        find("preparing-text").textContent = text;
      },
    });
    if (mine !== turn) {
      void loaded.free();
      return;
    }
    verifier = loaded;
    const { paramsTime, cardTime } = loaded.preparation;
    slot("card", "ready", `${file.name}, ${bytesText(file.bytes.length)}, checked in ${timeText(paramsTime + cardTime)}`);
  } catch (error) {
    if (mine !== turn) return;
    slot("card", "bad", `${file.name}: not usable`);
    showRefused(error, null);
    if (error instanceof ZkinferError && error.class === "internal") worker = new VerifierWorker();
  } finally {
    busy--;
    if (mine === turn) row.hidden = true;
  }
}

function forget(which: "card" | "proof"): void {
  if (which === "proof") proof = undefined;
  else {
    void verifier?.free().catch(() => {});
    verifier = undefined;
  }
}

/** Brings statement and button in line with what there is. */
async function refresh(): Promise<void> {
  const mine = turn;
  const hint = find("verify-hint");
  verifyButton.disabled = !verifier || !proof;
  find("statement").hidden = !verifier || !proof;
  hint.hidden = !verifyButton.disabled;
  find("ask-card").hidden = !proof || verifier !== undefined;
  if (!verifier || !proof) {
    hint.textContent = proof && !verifier ? `This proof needs the card of model ${proof.info.card}.` : verifier ? "Now give a proof." : "Give a card and a proof first.";
    return;
  }
  const claims = await verifier.claims(proof.bytes);
  if (mine !== turn || !verifier) return;
  find("statement-intro").textContent = UNCHECKED;
  showStatement(verifier.card, claims, modelField.value.trim().toLowerCase());
}

/** A verdict is about what was expected then. */
function expectationChanged(): void {
  question++;
  clearVerdict();
  if (!verifier || !proof) return;
  find("statement-intro").textContent = UNCHECKED;
  // At once, not when the field is left: a button that moves while it is pressed is not pressed.
  showTrust(verifier.card, proof.info.card, modelField.value.trim().toLowerCase());
}

async function verify(): Promise<void> {
  if (!verifier || !proof) return;
  const mine = turn;
  const asked = question;
  const trusted = modelField.value.trim().toLowerCase();
  verifyButton.disabled = true;
  verifyButton.textContent = "Verifying …";
  let started = false;
  busy++;
  try {
    if (trusted !== "" && trusted !== verifier.card.digest) {
      throw new ZkinferError("unknown_model", "unknown_model", `the card is of model ${verifier.card.digest}, you trust ${trusted}`);
    }
    const given = await givenInputs(verifier, proof.info.runs.length);
    const context = expectedContext(proof.info.context);
    const expected: Expected[] = given ? given.map((input) => ({ input, context })) : [{ context }];
    started = true;
    const verdict = await verifier.verify(proof.bytes, expected);
    if (mine !== turn || asked !== question) return;
    find("statement-intro").textContent = "This is what was proven.";
    showValid(verdict, { model: trusted !== "", context: contextField.value !== "", input: given !== undefined }, worker.lastMilliseconds);
    showVerified(verdict);
  } catch (error) {
    if (mine !== turn) return;
    if (asked === question) {
      find("statement-intro").textContent = "This is what the proof claims. It was not shown to be true.";
      showRefused(error, started ? worker.lastMilliseconds : null);
    }
    if (error instanceof ZkinferError && error.class === "internal") restart();
  } finally {
    busy--;
    verifyButton.textContent = "Verify";
    verifyButton.disabled = !verifier || !proof;
  }
}

/** A proof that leaves its input to the verifier shows it only now. */
function showVerified(verdict: { runs: { input: object; output: object; inputs: Float32Array[] | null; outputs: Float32Array[] | null }[] }): void {
  if (!verifier || !proof) return;
  const runs = verdict.runs.map((run) => ({
    input: { ...run.input, reals: run.inputs },
    output: { ...run.output, reals: run.outputs },
  }));
  showStatement(verifier.card, { ...proof.info, runs: runs as never }, modelField.value.trim().toLowerCase());
}

/** What was typed goes before a file. */
async function givenInputs(by: RemoteVerifier, runs: number): Promise<PublicSide[] | undefined> {
  const text = inputField.value.trim();
  if (text === "" && !input) return undefined;
  const given = text !== "" ? text : (input?.bytes ?? "");
  return by.values("input", given, runs, tolerance(given, by, runs));
}

/** A card that rounds more coarsely than the values differ would take other inputs for this one, too. */
function tolerance(given: Bytes | string, by: RemoteVerifier, runs: number): number | undefined {
  const lengths = by.card.interface?.inputs.map(({ length }) => length) ?? [];
  try {
    const values = parseValues(given, Array.from({ length: runs }, () => lengths).flat());
    if (values.kind !== "real") return undefined;
    const all = values.tensors.flat();
    const least = all.reduce((a, b) => Math.min(a, b), Infinity);
    const most = all.reduce((a, b) => Math.max(a, b), -Infinity);
    const span = most > least ? most - least : Math.abs(most);
    return span > 0 && Number.isFinite(span) ? span : undefined;
  } catch {
    // Whatever is wrong with the values, the verifier says it.
    return undefined;
  }
}

/** Text, or bytes after `0x`; nothing: what the proof says. */
function expectedContext(claimed: string): string | Uint8Array {
  const text = contextField.value;
  if (text === "") return fromHex(claimed);
  return text.startsWith("0x") ? fromHex(text.slice(2)) : text;
}

/** After a failure of the module itself, which should not happen. */
function restart(): void {
  worker.terminate();
  worker = new VerifierWorker();
  verifier = undefined;
  slot("card", "empty", "give it again");
  void refresh();
}

function clear(): void {
  turn++;
  if (busy > 0) {
    // Only the end of a worker ends what it is doing.
    worker.terminate();
    worker = new VerifierWorker();
    verifier = undefined;
  }
  forget("card");
  forget("proof");
  input = undefined;
  for (const field of [modelField, contextField, inputField]) field.value = "";
  for (const which of ["card", "proof", "input"] as const) slot(which, "empty");
  find("preparing").hidden = true;
  trouble("");
  clearVerdict();
  void refresh();
}

async function demo(proofName: string): Promise<void> {
  clear();
  const load = async (name: string): Promise<Loaded> => {
    const response = await fetch(new URL(`demo/${name}`, document.baseURI));
    if (!response.ok) throw new Error(`demo/${name}: HTTP status ${response.status}`);
    return { name, bytes: new Uint8Array(await response.arrayBuffer()) };
  };
  await take([await load("digits.card"), await load(proofName)]);
}

/** A service that also serves this page keeps cards under their digests. What it sends is checked like any file. */
async function askForCard(): Promise<void> {
  const digest = proof?.info.card;
  if (digest === undefined) return;
  const response = await fetch(new URL(`v1/cards/${digest}`, document.baseURI), { headers: { accept: "application/octet-stream" } });
  if (!response.ok) {
    trouble(`This server does not have the card (HTTP status ${response.status}). Ask the model’s owner for it.`);
    return;
  }
  await take([{ name: "card of this server", bytes: new Uint8Array(await response.arrayBuffer()) }]);
}

async function takeFiles(list: FileList | null | undefined): Promise<void> {
  const given = Array.from(list ?? []);
  const files = given.filter(({ size }) => size <= LARGEST_FILE);
  if (given.length === 0) return;
  await take(await Promise.all(files.map(async (file) => ({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) }))));
  if (files.length < given.length) trouble(`Files of more than ${bytesText(LARGEST_FILE)} are neither cards nor proofs, and were not read.`);
}

/** Nothing that goes wrong goes unseen. */
function guarded(work: () => Promise<void>): void {
  work().catch((error: unknown) => trouble(reasonText(error)));
}

const chooser = find<HTMLInputElement>("files");
chooser.addEventListener("change", () => {
  guarded(async () => {
    await takeFiles(chooser.files);
    chooser.value = "";
  });
});
const drop = find("drop");
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => drop.classList.remove("over"));
// Anywhere on the page: a file that misses the box must not replace the page.
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const files = event.dataTransfer?.files;
  guarded(() => takeFiles(files));
});
verifyButton.addEventListener("click", () => guarded(verify));
find("demo-valid").addEventListener("click", () => guarded(() => demo("digits_0.proof")));
find("demo-forged").addEventListener("click", () => guarded(() => demo("forged.proof")));
find("ask-card").addEventListener("click", () => guarded(askForCard));
find("clear").addEventListener("click", clear);
for (const field of [modelField, contextField, inputField]) field.addEventListener("input", expectationChanged);
guarded(async () => {
  await worker.init();
});
