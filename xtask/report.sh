#!/usr/bin/env bash
# Measures anew what docs/bench holds, on a machine with nothing else to do, and puts the report together.
#
#   xtask/report.sh [models] [sweeps] [ezkl] [page]      # all of them if none is named; ZKINFER_CORPUS: docs/corpus.md
#
# models: five models and a generated ResNet-18 (xtask/models.py, which needs onnx and onnxruntime), about ten minutes.
# sweeps: eight families, about a quarter of an hour. ezkl: the first model by EZKL, where target/peers has it (peers/README.md).
# page: report.html and report.md from the files.
set -euo pipefail
cd "$(dirname "$0")/.."
corpus=${ZKINFER_CORPUS:?names the corpus, see docs/corpus.md}/models
zkinfer=target/release/zkinfer
models=(ladder/mlp_ladder_100k trained/lenet5_mnist ladder/resnet8_cifar trained/lstm_vol_sp500 classical/rf_breast_cancer)
resnet=target/models/resnet18-32
families=(mlp width depth cnn tokens channels rows block)
parts=("$@")
[ $# -gt 0 ] || parts=(models sweeps ezkl page)
cargo build --release --locked --quiet

for part in "${parts[@]}"; do
  case $part in
    models)
      [ -f $resnet/network.onnx ] || "${PYTHON:-python3}" xtask/models.py "$(basename $resnet)" -o target/models
      for model in "${models[@]/#/$corpus/}" $resnet; do
        "$zkinfer" bench "$model/network.onnx" --calibration "$model/samples.npz" --seconds 1 --batches 1,8,64,1024 \
          -o "docs/bench/$(basename "$model").json"
      done
      ;;
    sweeps)
      for family in "${families[@]}"; do
        # Ten million parameters in layers of 64 are 2,400 layers.
        most=10000000; [ "$family" != depth ] || most=1000000
        # Where a single verification becomes cheaper than running.
        multiply=1000000000; [ "$family" != channels ] || multiply=3200000000
        "$zkinfer" bench --sweep "$family" --seconds 0.3 --batches 64,1024 --max-parameters "$most" --max-activations 100000 \
          --max-multiply-adds $multiply -o "docs/bench/sweep-$family.json"
      done
      ;;
    ezkl)
      target/peers/bin/python peers/ezkl.py "$corpus/${models[0]}" --json docs/bench/ezkl.json
      ;;
    page)
      from=()
      for model in "${models[@]}" $resnet; do from+=(--from "docs/bench/$(basename "$model").json"); done
      for family in "${families[@]}"; do from+=(--from "docs/bench/sweep-$family.json"); done
      "$zkinfer" bench "${from[@]}" --peers docs/bench/ezkl.json --peers peers/quoted.json \
        --title 'What a proof costs: six models and eight families' -o docs/bench/report.html -o docs/bench/report.md
      ;;
    *)
      echo "no part $part: models, sweeps, ezkl, page" >&2
      exit 2
      ;;
  esac
done
