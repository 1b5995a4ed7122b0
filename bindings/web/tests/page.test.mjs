/**
 * The page in headless Chromium. With `SCREENSHOTS=folder` it leaves pictures there.
 *
 * `CHROMIUM` names another executable than `/usr/bin/chromium`.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { DIST, fixture } from "./common.mjs";
import { serve } from "./server.mjs";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const WAIT = 120_000;
const skip = existsSync(EXECUTABLE) ? false : `NOT CHECKED: ${EXECUTABLE} is not installed`;

let browser;
let server;

before(async () => {
  if (skip) return;
  browser = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
  server = await serve(DIST);
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** A fresh page, and what it complains about. */
async function open(options = {}, address = server.address) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => request.url().startsWith(address) || request.url().startsWith("blob:") || complaints.push(`asks ${request.url()}`));
  await page.goto(address);
  return { page, complaints, done: () => context.close() };
}

/** Files as if a person dropped them. */
async function drop(page, files) {
  const data = await page.evaluateHandle((files) => {
    const transfer = new DataTransfer();
    for (const [name, text] of files) transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
    return transfer;
  }, files.map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")]));
  await page.dispatchEvent("#drop", "drop", { dataTransfer: data });
}

const ready = (page) => page.waitForFunction(() => !document.getElementById("verify").disabled);

async function verdict(page) {
  // The result before may still be there when the next one is asked for, with the same expectations.
  await page.evaluate(() => document.querySelector("#verdict .result")?.classList.remove("result"));
  await page.click("#verify");
  await page.waitForSelector("#verdict .result");
  return page.innerText("#verdict");
}

async function shot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}

test("drop, statement, verify, verdict", { skip }, async () => {
  const { page, complaints, done } = await open({ acceptDownloads: true });
  assert.ok(await page.isDisabled("#verify"));
  await drop(page, [["digits_0.proof", fixture("digits_0.proof")]]);
  await page.waitForFunction(() => /needs the card of model [0-9a-f]{64}/.test(document.getElementById("verify-hint").textContent));
  await drop(page, [["digits.card", fixture("digits.card")]]);
  await ready(page);
  await page.waitForSelector("#runs canvas");
  const statement = await page.innerText("#statement");
  assert.match(statement, /claims/);
  assert.match(statement, /digits/);
  assert.match(statement, /“digits”\s+0x646967697473/);
  // The picture: 8 × 8, and it is neither empty nor the same everywhere.
  const shades = await page.$eval("#runs canvas", (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.width, canvas.height, new Set(data.filter((_, i) => i % 4 === 0)).size];
  });
  assert.deepEqual(shades.slice(0, 2), [8, 8]);
  assert.ok(shades[2] > 4);
  assert.equal(await page.getAttribute("#runs tr.winner th", "scope"), "row");
  assert.match(await page.innerText("#runs tr.winner"), /^0\s+5\.6\d+.*highest/s);

  const text = await verdict(page);
  assert.match(text, /✓ Valid/);
  assert.match(text, /Verified in \d+(\.\d)? (ms|s)/);
  assert.match(await page.innerText("#statement-intro"), /proven/);
  await shot(page, "valid");

  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#verdict button")]);
  const receipt = JSON.parse(readFileSync(await download.path(), "utf8"));
  assert.equal(receipt.result.outcome, "accepted");
  assert.deepEqual(complaints, []);
  await done();
});

test("a forged proof is refused, with the reason in words", { skip }, async () => {
  const { page, complaints, done } = await open();
  await page.click("#demo-forged");
  await ready(page);
  await page.waitForSelector("#runs canvas");
  assert.match(await page.innerText("#runs tr.winner"), /^9\s/);
  const text = await verdict(page);
  assert.match(text, /✗ Rejected: the proof is not valid/);
  assert.match(text, /one of them is not what was proven/);
  assert.match(text, /invalid_proof \/ invalid_link/);
  assert.equal(await page.getAttribute("#verdict", "aria-live"), "polite");
  await shot(page, "forged");
  // The honest one after it.
  await page.click("#demo-valid");
  await ready(page);
  assert.match(await verdict(page), /✓ Valid/);
  assert.deepEqual(complaints, []);
  await done();
});

test("what the person expects is compared", { skip }, async () => {
  const { page, complaints, done } = await open();
  await drop(page, [["digits.card", fixture("digits.card")], ["digits_0.proof", fixture("digits_0.proof")]]);
  await ready(page);
  const digest = await page.innerText("#model-digest");
  await page.click("summary");
  await page.fill("#expect-context", "another request");
  assert.match(await verdict(page), /statement_mismatch \/ other_context/);
  await page.fill("#expect-context", "digits");
  await page.fill("#expect-model", "0".repeat(64));
  assert.match(await verdict(page), /unknown_model/);
  await page.fill("#expect-model", digest.toUpperCase());
  await page.fill("#expect-input", Array(64).fill(0).join(" "));
  assert.match(await verdict(page), /statement_mismatch \/ other_input/);
  await page.fill("#expect-input", "1 2 3");
  assert.match(await verdict(page), /values_length.*3 numbers, the model's input has 64/s);
  await page.fill("#expect-input", "");
  assert.match(await verdict(page), /✓ Model.*✓ Context/s);
  assert.match(await page.innerText("#statement-intro"), /proven/);
  // A verdict on something else does not stay there, and a button that is pressed for a while is pressed.
  await page.fill("#expect-model", "0".repeat(64));
  assert.equal(await page.innerText("#verdict"), "");
  assert.match(await page.innerText("#statement-intro"), /not checked yet/);
  await page.hover("#verify");
  await page.mouse.down();
  await page.waitForTimeout(500);
  await page.mouse.up();
  await page.waitForSelector("#verdict .result");
  assert.match(await page.innerText("#verdict"), /unknown_model/);
  assert.deepEqual(complaints, []);
  await done();
});

test("an input in a file, for a proof that does not carry it", { skip }, async () => {
  const { page, complaints, done } = await open();
  await drop(page, [["digits.card", fixture("digits.card")], ["digits_digest.proof", fixture("digits_digest.proof")]]);
  await ready(page);
  await page.waitForFunction(() => /not carried by the proof/.test(document.getElementById("runs").textContent));
  assert.match(await verdict(page), /input_needed/);
  // The values of the other proof of the same input.
  const { Verifier } = await import("../dist/verifier/node.js");
  const [{ input }] = (await Verifier.load(fixture("digits.card"))).claims(fixture("digits_1.proof")).runs;
  await drop(page, [["input.json", Buffer.from(JSON.stringify({ input_data: [Array.from(input.reals[0])] }))]]);
  await page.waitForSelector("#slot-input[data-state=ready]");
  assert.match(await verdict(page), /✓ Valid.*✓ Input/s);
  await page.waitForSelector("#runs canvas");
  assert.deepEqual(complaints, []);
  await done();
});

test("several runs, hidden sides, images with channels", { skip }, async () => {
  const { page, complaints, done } = await open();
  await drop(page, [["digits.card", fixture("digits.card")], ["digits_3.runs", fixture("digits_3.runs")]]);
  await ready(page);
  await page.waitForFunction(() => document.querySelectorAll("#runs canvas").length === 3);
  assert.match(await verdict(page), /each of the 3 inputs/);
  await drop(page, [["digits_hidden.proof", fixture("digits_hidden.proof")]]);
  await page.waitForFunction(() => /Hidden/.test(document.getElementById("runs").textContent));
  assert.match(await verdict(page), /✓ Valid.*hidden behind a commitment/s);
  await drop(page, [["cnn.card", fixture("cnn.card")], ["cnn_1.proof", fixture("cnn_1.proof")]]);
  await ready(page);
  await page.waitForSelector("#runs canvas");
  assert.match(await verdict(page), /✓ Valid/);
  assert.deepEqual(complaints, []);
  await done();
});

test("files that cannot be used are named, and the page goes on", { skip }, async () => {
  const { page, complaints, done } = await open();
  const damaged = fixture("digits.card");
  damaged[1000] ^= 1;
  await drop(page, [["digits.card", damaged]]);
  await page.waitForSelector("#slot-card[data-state=bad]");
  assert.match(await page.innerText("#verdict"), /malformed \/ damaged/);
  await drop(page, [["secret.model", Buffer.from("zkinfer\0\x01\0")]]);
  await page.waitForFunction(() => /owner’s secret/.test(document.getElementById("trouble").textContent));
  await drop(page, [["cut.proof", fixture("digits_0.proof").subarray(0, 1000)]]);
  await page.waitForSelector("#slot-proof[data-state=bad]");
  // A proof of another model.
  await drop(page, [["digits.card", fixture("digits.card")], ["cnn_0.proof", fixture("cnn_0.proof")]]);
  await ready(page);
  assert.match(await verdict(page), /unknown_model.*about model/s);
  await page.click("#clear");
  assert.ok(await page.isDisabled("#verify"));
  assert.deepEqual(complaints, []);
  await done();
});

test("wrong parameters from a server change nothing but the time", { skip }, async () => {
  const other = readFileSync(`${DIST}verifier/params/params-9.bin`);
  other.copyWithin(14, 46, 78);
  const bad = await serve(DIST, { "/verifier/params/params-9.bin": other });
  const { page, complaints, done } = await open({}, bad.address);
  await page.click("#demo-forged");
  await ready(page);
  assert.match(await verdict(page), /invalid_proof/);
  await page.click("#demo-valid");
  await ready(page);
  assert.match(await verdict(page), /✓ Valid/);
  assert.deepEqual(complaints, []);
  await done();
  bad.close();
});

test("starting again stops what is being done", { skip }, async () => {
  const slow = await serve(DIST, { "/verifier/params/params-9.bin": Buffer.from("not there") });
  const { page, complaints, done } = await open({}, slow.address);
  await page.click("#demo-valid");
  // Making parameters takes seconds; nothing of it comes through afterwards.
  await page.waitForFunction(() => /Making parameters/.test(document.getElementById("preparing-text").textContent));
  await page.click("#clear");
  assert.ok(await page.isHidden("#preparing"));
  await drop(page, [["digits_0.proof", fixture("digits_0.proof")]]);
  await page.waitForSelector("#slot-proof[data-state=ready]");
  assert.equal(await page.getAttribute("#slot-card", "data-state"), "empty");
  assert.ok(await page.isDisabled("#verify"));
  assert.deepEqual(complaints, []);
  await done();
  slow.close();
});

test("a service that has the card is asked for it", { skip }, async () => {
  const { Verifier } = await import("../dist/verifier/node.js");
  const { digest } = (await Verifier.load(fixture("digits.card"))).card;
  const service = await serve(DIST, { [`/v1/cards/${digest}`]: fixture("digits.card") });
  const { page, complaints, done } = await open({}, service.address);
  assert.ok(await page.isHidden("#ask-card"));
  await drop(page, [["digits_0.proof", fixture("digits_0.proof")]]);
  await page.click("#ask-card");
  await ready(page);
  assert.match(await verdict(page), /✓ Valid/);
  assert.deepEqual(complaints, []);
  await page.click("#clear");
  await drop(page, [["cnn_0.proof", fixture("cnn_0.proof")]]);
  await page.click("#ask-card");
  await page.waitForFunction(() => /does not have the card/.test(document.getElementById("trouble").textContent));
  await done();
  service.close();
});

test("with the keyboard, on a phone, in the dark", { skip }, async () => {
  const { page, complaints, done } = await open({ viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true });
  // Without a pointer: to the demonstration, then on to the button.
  const focusOn = async (id) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((id) => document.activeElement?.id === id, id)) return;
    }
    assert.fail(`#${id} cannot be reached with the Tab key`);
  };
  await focusOn("files");
  await focusOn("demo-valid");
  await page.keyboard.press("Enter");
  await ready(page);
  await page.waitForSelector("#runs canvas");
  await focusOn("verify");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#verdict .result.good");
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= window, `the page is ${wide} pixels wide in a window of ${window}`);
  await shot(page, "phone");
  assert.deepEqual(complaints, []);
  await done();
});

test("accessible, light and dark", { skip }, async () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  for (const colorScheme of ["light", "dark"]) {
    for (const demo of ["#demo-valid", "#demo-forged"]) {
      const { page, done } = await open({ colorScheme, bypassCSP: true });
      await page.click("summary");
      await page.click(demo);
      await ready(page);
      await verdict(page);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), []);
      await done();
    }
  }
});

test("the page answers while a card is prepared and a proof verified", { skip }, async () => {
  const { page, done } = await open();
  // Longest time between two frames' worth of timers on the page's thread.
  await page.evaluate(() => {
    globalThis.ticks = 0;
    setInterval(() => globalThis.ticks++, 5);
  });
  await page.click("#demo-valid");
  await page.waitForFunction(() => document.getElementById("preparing-bar").value > 0);
  const before = await page.evaluate(() => globalThis.ticks);
  await ready(page);
  const between = await page.evaluate(() => globalThis.ticks);
  await verdict(page);
  const end = await page.evaluate(() => globalThis.ticks);
  assert.ok(between > before && end > between);
  await done();
});

test("the package in a page and in a worker of its own", { skip }, async () => {
  const { page, complaints, done } = await open();
  const result = await page.evaluate(async () => {
    const get = async (name) => new Uint8Array(await (await fetch(`demo/${name}`)).arrayBuffer());
    const [card, proof, forged] = await Promise.all(["digits.card", "digits_0.proof", "forged.proof"].map(get));
    const { Verifier } = await import(`${location.origin}/verifier/index.js`);
    const { VerifierWorker, Rejected } = await import(`${location.origin}/verifier/client.js`);
    const here = (await Verifier.load(card)).verify(proof, { context: "digits" });
    const scores = (verdict) => [...verdict.runs[0].outputs[0]];
    const worker = new VerifierWorker();
    const stages = [];
    const verifier = await worker.load(card, { onProgress: (stage) => stages.push(stage) });
    const there = await verifier.verify(proof, { context: "digits" });
    const refusal = await verifier.verify(forged, { context: "digits" }).catch((error) => error);
    // Stopped in the middle of work.
    const waiting = verifier.verify(proof, { context: "digits" }).catch((error) => error.code);
    worker.terminate();
    const late = await verifier.receipt(proof).catch((error) => error.code);
    return { same: here.statement === there.statement, scores: [scores(here), scores(there)], stages, refused: [refusal instanceof Rejected, refusal.code, refusal.receipt.result.outcome], waiting: await waiting, late };
  });
  assert.ok(result.same);
  const [here, there] = result.scores;
  assert.deepEqual(here, there);
  // The image is a zero.
  assert.equal(here.length, 10);
  assert.equal(here.indexOf(Math.max(...here)), 0);
  assert.deepEqual(result.stages, ["card-read", "params-fetch", "params-read", "card-check", "ready"]);
  assert.deepEqual(result.refused, [true, "invalid_link", "rejected"]);
  assert.deepEqual([result.waiting, result.late], ["terminated", "terminated"]);
  assert.deepEqual(complaints, []);
  await done();
});
