/** The package in Node: the same, but files are read from the package's folder. */
import { readFile } from "node:fs/promises";
import { useReader } from "./source.js";

useReader(async (url) => {
  if (url.protocol === "file:") return readFile(url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href}: HTTP status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
});

export * from "./index.js";
