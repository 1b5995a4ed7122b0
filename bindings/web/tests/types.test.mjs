/** The package's types, as a TypeScript project sees them that installs the package. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { DIST } from "./common.mjs";

const TSC = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url));

function check(source) {
  const folder = mkdtempSync(join(tmpdir(), "types-"));
  try {
    mkdirSync(join(folder, "node_modules/@zkinfer"), { recursive: true });
    symlinkSync(join(DIST, "verifier"), join(folder, "node_modules/@zkinfer/verifier"));
    writeFileSync(join(folder, "package.json"), '{"type": "module"}');
    writeFileSync(join(folder, "use.ts"), source);
    const flags = ["--noEmit", "--strict", "--skipLibCheck", "false", "--exactOptionalPropertyTypes", "--types", "", "--target", "es2022"];
    execFileSync(TSC, [...flags, "--module", "nodenext", "use.ts"], { cwd: folder, encoding: "utf8" });
    execFileSync(TSC, [...flags, "--module", "esnext", "--moduleResolution", "bundler", "use.ts"], { cwd: folder, encoding: "utf8" });
    return "";
  } catch (error) {
    return error.stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("right use compiles", () => {
  const problems = check(`
    import { explain, inspect, Rejected, Verifier, verifyMany, ZkinferError, type Check, type Expected, type Receipt, type Verdict } from "@zkinfer/verifier";
    import { VerifierWorker } from "@zkinfer/verifier/client";

    export async function use(card: Uint8Array, proof: ArrayBuffer): Promise<number> {
      const verifier = await Verifier.load(card, { limits: { k: 12 }, params: false, onProgress: (stage) => stage === "ready" });
      const expected: Expected = { input: verifier.publicInput([[0.5], new Float32Array(3)]), context: "nonce" };
      try {
        const verdict: Verdict = verifier.verify(proof, expected);
        return verdict.runs[0]?.outputs?.[0]?.[0] ?? 0;
      } catch (error) {
        if (error instanceof Rejected) {
          const receipt: Receipt = error.receipt;
          if (error.class === "invalid_proof" && receipt.result.outcome === "rejected") return explain(error).title.length;
        }
        if (error instanceof ZkinferError) return error.code.length;
        throw error;
      }
    }

    export function many(verifier: Verifier, proofs: Uint8Array[]): Receipt[] {
      const checks: Check[] = proofs.map((proof) => ({ verifier, proof, expected: { context: "nonce" } }));
      return verifyMany(checks);
    }

    export async function remote(card: ArrayBuffer, proof: Uint8Array): Promise<string | undefined> {
      const worker = new VerifierWorker();
      const info = await worker.inspect(proof);
      const verifier = await worker.load(card);
      const [first] = await worker.verifyMany([{ verifier, proof }]);
      if (first?.result.outcome === "rejected") return first.result.code;
      const receipt = await verifier.receipt(proof, [{ context: new Uint8Array([1]) }]);
      return info.kind === "proof" && receipt.result.outcome === "accepted" ? receipt.result.runs[0]?.input.digest : undefined;
    }

    export const kinds = async (file: Uint8Array) => (await inspect(file)).kind satisfies "card" | "proof" | "model" | "params" | "other";
  `);
  assert.equal(problems, "");
});

test("wrong use does not", () => {
  const header = 'import { Verifier, verifyMany, type Expected, ZkinferError } from "@zkinfer/verifier"; declare const verifier: Verifier; declare const bytes: Uint8Array;';
  for (const wrong of [
    "verifier.verify('a path');",
    "verifier.verify(bytes, { contxt: '' });",
    "const e: Expected = { input: [1, 2] };",
    "new Verifier();",
    "verifyMany([{ proof: bytes }]);",
    "verifier.verify(bytes).receipt.result.statement;",
    "new ZkinferError('some_class', 'code', 'message');",
  ]) {
    assert.match(check(`${header} ${wrong}`), /error TS/, wrong);
  }
});

test("everything that the package exports is in it", () => {
  const { exports, files } = JSON.parse(readFileSync(join(DIST, "verifier/package.json"), "utf8"));
  const listed = execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: join(DIST, "verifier"), encoding: "utf8" });
  const packed = new Set(JSON.parse(listed)[0].files.map(({ path }) => path));
  const targets = Object.values(exports).flatMap((target) => (typeof target === "string" ? [target] : Object.values(target)));
  for (const target of targets.filter((target) => !target.includes("*"))) assert.ok(packed.has(target.slice(2)), target);
  for (const name of ["README.md", "LICENSE", "index.d.ts", "wasm/zkinfer_wasm.js", "params/params-12.bin"]) assert.ok(packed.has(name), name);
  assert.ok(files.length > 0);
});
