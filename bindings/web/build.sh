#!/usr/bin/env bash
# Builds the package `@zkinfer/verifier` and the page: bindings/web/dist/ (the page's root) and bindings/web/dist/verifier/ (the package).
# Needs Rust with the target wasm32-unknown-unknown, and Node 20 or newer with npm.
set -euo pipefail
cd "$(dirname "$0")"
root=../..
target=${CARGO_TARGET_DIR:-$root/target}

rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
[ -x node_modules/.bin/tsc ] || npm ci

# All of it anew, so that nothing stale is left.
rm -rf dist
mkdir -p dist/verifier/wasm dist/verifier/params dist/demo

cargo build --release --locked --manifest-path $root/Cargo.toml -p zkinfer-wasm --target wasm32-unknown-unknown
cargo run --quiet --locked --manifest-path bindgen/Cargo.toml --target-dir "$target/bindgen" -- \
  "$target/wasm32-unknown-unknown/release/zkinfer_wasm.wasm" dist/verifier/wasm
cargo run --quiet --release --locked --manifest-path $root/Cargo.toml -p zkinfer-wasm --example web_files -- dist

node_modules/.bin/tsc -p verifier
node_modules/.bin/tsc -p page
cp verifier/package.json verifier/README.md $root/LICENSE{,-APACHE,-MIT} dist/verifier/
cp page/index.html page/style.css page/icon.svg dist/
cp $root/tests/fixtures/{digits.card,digits_0.proof,cnn.card,cnn_1.proof} dist/demo/
