/** The statement as people read it: pictures, scores, digests. */
import { fromHex, type CardInfo, type Claims, type RealClaim, type Tensor } from "./verifier/client.js";
import { find, make } from "./dom.js";
import { draw, pictureShape } from "./picture.js";

/** Tables longer than this show the largest values only. */
const MOST_ROWS = 32;
/** Runs that are shown. */
const MOST_RUNS = 16;

export function showStatement(card: CardInfo, claims: Claims, trusted: string): void {
  find("model-name").textContent = card.interface?.name || "without a name";
  find("model-digest").textContent = claims.card;
  showTrust(card, claims.card, trusted);
  const context = fromHex(claims.context);
  find("context-text").textContent = context.length === 0 ? "none" : (plainText(context) ?? "(not text)");
  find("context-hex").textContent = claims.context === "" ? "" : `0x${claims.context}`;
  const several = claims.runs.length > 1;
  const runs = claims.runs.slice(0, MOST_RUNS).map(({ input, output }, i) => {
    const run = make("div", { class: "run" });
    if (several) run.append(make("h3", { class: "whole" }, `Run ${i + 1} of ${claims.runs.length}`));
    run.append(
      make("div", {}, make("h3", {}, "Input"), ...side(input, card.interface?.inputs ?? [], showInput)),
      make("div", {}, make("h3", {}, "Output"), ...side(output, card.interface?.outputs ?? [], showOutput)),
    );
    return run;
  });
  find("runs").replaceChildren(...runs);
  if (claims.runs.length > MOST_RUNS) find("runs").append(make("p", { class: "small" }, `and ${claims.runs.length - MOST_RUNS} more runs`));
}

/** What the model of a proof is to whoever trusts this digest, if any. */
export function showTrust(card: CardInfo, model: string, trusted: string): void {
  find("model-trust").textContent =
    model !== card.digest ? ` This is not the model of the card (${card.digest}).` : trusted === "" ? "" : trusted === card.digest ? " This is the digest that you trust." : " This is not the digest that you trust.";
}

/** Text, if the bytes are nothing else. */
function plainText(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return /[\p{Cc}\p{Cf}\p{Co}\p{Cn}]/u.test(text) ? null : `“${text}”`;
  } catch {
    return null;
  }
}

function side(claim: RealClaim, tensors: Tensor[], show: (tensor: Tensor, reals: Float32Array) => Node[]): Node[] {
  switch (claim.kind) {
    case "digest":
      return [make("p", {}, "Public, but not carried by the proof: give it above, and it is compared with this digest."), make("code", { class: "digest" }, claim.digest)];
    case "committed":
      return [make("p", {}, "Hidden: the proof holds commitments to it."), make("code", { class: "digest" }, claim.points.join(" "))];
    case "public":
      if (claim.reals === null) return [make("p", {}, "The card does not say what these integers stand for."), numbers(claim.values)];
      return claim.reals.flatMap((reals, i) => (tensors[i] ? show(tensors[i], reals) : []));
  }
}

function showInput(tensor: Tensor, reals: Float32Array): Node[] {
  const shape = pictureShape(tensor.shape);
  const about = make("p", { class: "small" }, `${tensor.name}, shape ${tensor.shape.join(" × ")}`);
  const values = make("details", {}, make("summary", {}, "Values"), numbers(reals));
  return shape ? [draw(shape, reals), about, values] : [about, values];
}

function showOutput(tensor: Tensor, reals: Float32Array): Node[] {
  const order = Array.from(reals.keys()).sort((a, b) => (reals[b] ?? 0) - (reals[a] ?? 0));
  const winner = reals.length > 1 ? order[0] : undefined;
  const shown = reals.length > MOST_ROWS ? order.slice(0, MOST_ROWS) : Array.from(reals.keys());
  const low = Math.min(0, ...shown.map((i) => reals[i] ?? 0));
  const high = Math.max(0, ...shown.map((i) => reals[i] ?? 0));
  const rows = shown.map((i) => {
    const value = reals[i] ?? 0;
    const bar = make("span");
    bar.style.width = `${(100 * (value - low)) / (high - low || 1)}%`;
    return make(
      "tr",
      i === winner ? { class: "winner" } : {},
      make("th", { scope: "row" }, String(i)),
      make("td", { class: "value" }, numberText(value)),
      make("td", { class: "bar", "aria-hidden": "true" }, bar),
      make("td", { class: "mark" }, i === winner ? "highest" : ""),
    );
  });
  const text = shown.length < reals.length ? `${tensor.name}: the ${shown.length} highest of ${reals.length} values` : tensor.name;
  return [make("table", {}, make("caption", {}, text), make("tbody", {}, ...rows))];
}

function numbers(values: ArrayLike<number>): HTMLElement {
  const most = 4096;
  const text = Array.from({ length: Math.min(values.length, most) }, (_, i) => numberText(values[i] ?? 0)).join(" ");
  return make("p", { class: "numbers", tabindex: "0", role: "group", "aria-label": `${values.length} values` }, values.length > most ? `${text} …` : text);
}

function numberText(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4);
}
