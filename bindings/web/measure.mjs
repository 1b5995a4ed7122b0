/**
 * Sizes and times of the built package, in Node and in headless Chromium.
 *
 * ```text
 * node bindings/web/measure.mjs [CARD PROOF CONTEXT] …      # by default digits and cnn of tests/fixtures
 * ```
 *
 * Every figure is the best of several: cards are prepared in fresh instances, proofs verified 15 times.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { Worker } from "node:worker_threads";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { serve } from "./tests/server.mjs";

const DIST = fileURLToPath(new URL("./dist/", import.meta.url));
const FIXTURES = fileURLToPath(new URL("../../tests/fixtures/", import.meta.url));
const FRESH = 3;

const given = process.argv.slice(2);
const cases = [];
for (let i = 0; i + 2 < given.length; i += 3) cases.push(given.slice(i, i + 3));
if (cases.length === 0) for (const name of ["digits", "cnn"]) cases.push([`${FIXTURES}${name}.card`, `${FIXTURES}${name}_0.proof`, name]);

/** Runs in Node and in the page alike: once from nothing to verdicts. Wall-clock and, in Node, processor time. */
async function once(entry, card, proof, context) {
  const now = () => [performance.now(), globalThis.process ? process.cpuUsage().user / 1000 : NaN];
  const since = ([wall, cpu], [wall2, cpu2] = now()) => [wall2 - wall, cpu2 - cpu];
  const begin = now();
  const { init, Verifier } = await import(entry);
  await init();
  const load = since(begin);
  /** Loads the card and says how long parameters and card took. */
  const prepare = async (verifiers, options) => {
    const marks = {};
    const verifier = await verifiers.load(card, { ...options, onProgress: (stage) => (marks[stage] = now()) });
    return [verifier, since(marks["card-read"], marks["card-check"]), since(marks["card-check"], marks["ready"])];
  };
  const [verifier, params, check] = await prepare(Verifier, {});
  const times = Array.from({ length: 15 }, () => {
    const start = now();
    verifier.verify(proof, { context });
    return since(start);
  });
  const fastest = times.slice(1).reduce(([wall, cpu], [wall2, cpu2]) => [Math.min(wall, wall2), Math.min(cpu, cpu2)]);
  let make = null;
  if (verifier.card.k <= 10) {
    // What it costs without the file; another query string is another module with nothing kept.
    const fresh = await import(`${entry.replace(/\/(node|index)\.js$/, "/verifier.js")}?fresh`);
    [, make] = await prepare(fresh.Verifier, { params: false });
  }
  return { k: verifier.card.k, figures: [load, params, make, check, times[0], fastest] };
}

/** The best of every figure. */
const best = (runs) => ({ k: runs[0].k, figures: runs[0].figures.map((_, i) => [0, 1].map((clock) => Math.min(...runs.map(({ figures }) => figures[i]?.[clock] ?? NaN)))) });


async function inNode([card, proof, context]) {
  const code = `const { parentPort, workerData: d } = require("node:worker_threads");
    const once = ${once};
    once(d.entry, d.card, d.proof, d.context).then((r) => parentPort.postMessage(r));`;
  const runs = [];
  for (let i = 0; i < FRESH; i++) {
    const workerData = { entry: `file://${DIST}verifier/node.js`, card: readFileSync(card), proof: readFileSync(proof), context };
    const worker = new Worker(code, { eval: true, workerData });
    runs.push(await new Promise((resolve, reject) => worker.on("message", resolve).on("error", reject)));
  }
  return best(runs);
}

async function inChromium(browser, address, [card, proof, context]) {
  const runs = [];
  for (let i = 0; i < FRESH; i++) {
    const context_ = await browser.newContext({ bypassCSP: true });
    const page = await context_.newPage();
    await page.goto(address);
    const files = [card, proof].map((file) => readFileSync(file).toString("base64"));
    runs.push(
      await page.evaluate(
        ([code, entry, files, context]) => {
          const [card, proof] = files.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
          return new Function(`return ${code}`)()(entry, card, proof, context);
        },
        [String(once), `${address}verifier/index.js`, files, context],
      ),
    );
    await context_.close();
  }
  return best(runs);
}

const wasm = readFileSync(`${DIST}verifier/wasm/zkinfer_wasm_bg.wasm`);
const scripts = readdirSync(`${DIST}verifier`).filter((name) => name.endsWith(".js")).map((name) => readFileSync(`${DIST}verifier/${name}`));
scripts.push(readFileSync(`${DIST}verifier/wasm/zkinfer_wasm.js`));
console.log(`module: ${wasm.length} bytes, gzip ${gzipSync(wasm, { level: 9 }).length}, brotli ${brotliCompressSync(wasm).length}`);
const all = Buffer.concat(scripts);
console.log(`scripts: ${all.length} bytes, gzip ${gzipSync(all, { level: 9 }).length}`);
console.log(`${cpus()[0].model}, Node ${process.version}`);

const executable = process.env.CHROMIUM ?? "/usr/bin/chromium";
const places = [["Node", inNode]];
let browser;
let server;
if (existsSync(executable)) {
  browser = await chromium.launch({ executablePath: executable, args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
  server = await serve(DIST);
  places.push([`Chromium ${browser.version()}`, (what) => inChromium(browser, server.address, what)]);
}
const text = (milliseconds) => (Number.isNaN(milliseconds) ? "–" : `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`);
console.log("| | k | where | load module | parameters, file | parameters, made | card | verify, first | verify |");
console.log("|---|---|---|---|---|---|---|---|---|");
for (const what of cases) {
  for (const [place, run] of places) {
    const { k, figures } = await run(what);
    const name = what[0].replace(/.*\//, "").replace(/\.card$/, "");
    for (const [clock, label] of [[0, place], [1, `${place}, CPU`]].slice(0, run === inNode ? 2 : 1)) {
      console.log(`| ${[name, k, label, ...figures.map((figure) => text(figure[clock]))].join(" | ")} |`);
    }
  }
}
await browser?.close();
server?.close();
