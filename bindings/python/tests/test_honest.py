"""What is imported is what is proven, or an error says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zkinfer

DATA = Path(__file__).resolve().parents[3] / "crates" / "cli" / "tests" / "data"


def test_outputs_are_all_there_or_chosen():
    model = zkinfer.compile(DATA / "labels.onnx", DATA / "labels.npz")
    assert [t.name for t in model.outputs] == ["label", "scores"]
    assert model.left_out == [] and model.warnings == []
    chosen = zkinfer.compile(DATA / "labels.onnx", DATA / "labels.npz", outputs=["scores"])
    assert [t.name for t in chosen.outputs] == ["scores"] and chosen.left_out == ["label"]
    with pytest.raises(zkinfer.ModelImportError, match="no output \"none\""):
        zkinfer.compile(DATA / "labels.onnx", DATA / "labels.npz", outputs=["none"])


def test_columns_of_their_own_units_are_judged_apart():
    with pytest.raises(zkinfer.QuantizeError, match="allow_error=True"):
        zkinfer.compile(DATA / "units.onnx", DATA / "units.npz")
    model = zkinfer.compile(DATA / "units.onnx", DATA / "units.npz", allow_error=True)
    assert len(model.warnings) == 1


def test_lengths_are_the_samples():
    x = np.ones((4, 1, 5, 4), np.float32) * np.arange(4, dtype=np.float32).reshape(-1, 1, 1, 1)
    for samples in (x, {"x": x}, {"x0": x}):
        assert zkinfer.compile(DATA / "open.onnx", samples).outputs[0].shape == (1, 5, 2)
    with pytest.raises(zkinfer.QuantizeError, match="stored with the samples"):
        zkinfer.compile(DATA / "open.onnx", DATA / "open_wrong.npz")


def test_weights_beside_the_model(tmp_path):
    # The files that it names are in its folder, and nowhere else.
    model = zkinfer.compile(DATA / "outside.onnx", DATA / "open.npz")
    assert model.weights == 10
    with pytest.raises(zkinfer.ModelImportError, match="give the path"):
        zkinfer.compile((DATA / "outside.onnx").read_bytes(), DATA / "open.npz")
    alone = tmp_path / "alone.onnx"
    alone.write_bytes((DATA / "outside.onnx").read_bytes())
    with pytest.raises(zkinfer.ModelImportError, match="w.bin"):
        zkinfer.compile(alone, DATA / "open.npz")


def test_the_owners_file_is_not_overwritten(secret, tmp_path):
    path = tmp_path / "a.model"
    secret.save(path)
    with pytest.raises(FileExistsError):
        secret.save(path)
    secret.save(path, overwrite=True)
