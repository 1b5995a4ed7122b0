/** What came out, in words. */
import { explain, Rejected, ZkinferError, type Verdict } from "./verifier/client.js";
import { find, make, timeText } from "./dom.js";

/** Which parts of the statement the person brought along. */
export interface Compared {
  model: boolean;
  context: boolean;
  input: boolean;
}

export function showValid(verdict: Verdict, compared: Compared, milliseconds: number): void {
  const several = verdict.runs.length > 1;
  const compare = (mine: boolean, yes: string, no: string) => make("li", {}, mine ? `✓ ${yes}` : no);
  const hidden = verdict.runs.some(({ input }) => input.kind === "committed");
  show(
    "good",
    "Valid",
    make("p", {}, several ? `The committed model maps each of the ${verdict.runs.length} inputs to its output.` : "The committed model maps this input to this output."),
    make(
      "ul",
      {},
      compare(compared.model, "Model: the digest is the one that you trust.", "Model: the card’s. Whether this card is the right model’s, its digest tells: compare it with the owner’s."),
      compare(compared.input, `Input: the one that you gave${stepText(verdict)}.`, hidden ? "Input: hidden behind a commitment." : "Input: the proof’s own, shown above. Is it the one that you asked about?"),
      compare(compared.context, "Context: the one that you asked for.", verdict.context.length === 0 ? "Context: none, so the proof may be an old one." : "Context: the proof’s own. Is it of your request?"),
    ),
    make("p", { class: "small" }, `Verified in ${timeText(milliseconds)}. Statement `, make("code", {}, verdict.statement)),
    receiptButton(verdict.receipt),
  );
}

/** How closely an input can be told from another one: "you gave this one" is no more than that. */
function stepText(verdict: Verdict): string {
  const steps = verdict.receipt.result.outcome !== "accepted" ? [] : verdict.receipt.result.runs.flatMap(({ reals }) => reals?.input?.flatMap(({ step }) => step) ?? []);
  return steps.length === 0 ? "" : `, rounded to steps of ${Number(Math.max(...steps).toPrecision(3))} by the card`;
}

export function showRefused(error: unknown, milliseconds: number | null, advice = ""): void {
  const reason = error instanceof ZkinferError ? error : new ZkinferError("internal", "page", error instanceof Error ? error.message : String(error));
  const { title, sentence } = explain(reason);
  show(
    "bad",
    `Rejected: ${title.charAt(0).toLowerCase()}${title.slice(1)}`,
    make("p", {}, sentence),
    ...(advice === "" ? [] : [make("p", {}, advice)]),
    make("p", { class: "small" }, "Reason ", make("code", {}, `${reason.class} / ${reason.code}`), `: ${reason.message}`),
    ...(milliseconds === null ? [] : [make("p", { class: "small" }, `Found in ${timeText(milliseconds)}.`)]),
    ...(reason instanceof Rejected ? [receiptButton(reason.receipt)] : []),
  );
}

export function clearVerdict(): void {
  find("verdict").replaceChildren();
}

function show(kind: "good" | "bad", title: string, ...rest: Node[]): void {
  find("verdict").replaceChildren(make("div", { class: `result ${kind}` }, make("h3", {}, `${kind === "good" ? "✓" : "✗"} ${title}`), ...rest));
}

function receiptButton(receipt: object): HTMLElement {
  const button = make("button", { type: "button" }, "Save receipt (JSON)");
  button.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(receipt, null, 2)], { type: "application/json" }));
    make("a", { href: url, download: "receipt.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  return button;
}

