# %% [markdown]
# # A scikit-learn model whose answers can be checked
#
# A hospital, a bank, a marketplace: somebody trained a model and does not want to show it; somebody else wants to be sure
# that the answers they get are that model's. Here the model is a small network of scikit-learn that reads digits.
#
# `pip install zkinfer scikit-learn skl2onnx`, then run the cells, or the whole file with `python3 sklearn_digits.py`.

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
import zkinfer
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# %% [markdown]
# ## Train
# Nothing here knows about proofs.

# %%
x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x.astype(np.float32), y, test_size=0.3, random_state=1)
classifier = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=300, random_state=1))
classifier.fit(x_train, y_train)
print(f"accuracy of the float model: {classifier.score(x_test, y_test):.1%}")

# %% [markdown]
# ## Export and compile
# `compile` imports the ONNX model and turns it into integers, with ranges from typical inputs. What that costs in accuracy
# is reported, and can be bought back with `bits` and `headroom`.

# %%
onnx = to_onnx(classifier, x_train[:1], options={"zipmap": False})
model = zkinfer.compile(onnx, x_train)
print(model)
for tensor in model.outputs:
    print("output", tensor)
report = model.evaluate(x_test)
print(f"{len(report['out_of_range'])} of {report['samples']} test images are outside the calibrated range")
for output in report["outputs"]:
    print(f"mean error of {output['name']}: {output['relative_error']:.3%} of its range")

# %% [markdown]
# ## Commit
# The *secret* stays with the owner. The *card* is published: whoever has it can verify, and learns the architecture but no
# weight.

# %%
folder = Path(tempfile.mkdtemp())
secret = model.commit("sklearn digits")
secret.save(folder / "digits.model", overwrite=True)
secret.card.save(folder / "digits.card")
print(secret.card, (folder / "digits.card").stat().st_size, "bytes")
answers = [round(run.outputs[0].item()) for run in secret.infer_many(x_test)]
print(f"accuracy of the committed model: {np.mean(answers == y_test):.1%}")

# %% [markdown]
# ## Answer and prove
# Somebody sends an image and a nonce, and gets an answer with a proof.

# %%
image, nonce = x_test[0], b"request 17"
for row in image.reshape(8, 8):
    print("".join(" .:-=+*#%@"[int(v * 9 / 16)] * 2 for v in row))
run = secret.infer(image)
proof = secret.prove(run, context=nonce)
label, probabilities = run.outputs
print("answer:", round(label.item()), "with probabilities", probabilities.ravel().round(2).tolist())
print(proof)

# %% [markdown]
# ## Verify
# The other side has the card, the image, the nonce and the bytes of the proof.

# %%
verifier = zkinfer.Verifier(folder / "digits.card")
verdict = verifier.verify(proof.to_bytes(), input=image, context=nonce)
print(verdict)

# %% [markdown]
# ## And if the owner lies?
# Another answer, an answer that is written into the proof, another image, another model: every lie has a typed reason.

# %%
fields = json.loads(proof.to_json())
fields["runs"][0]["output"]["values"][0] += 1
forged = zkinfer.Proof.from_json(json.dumps(fields))

lies = {
    "another answer": lambda: verifier.verify(
        proof, input=image, output=[np.roll(o, 1) for o in run.outputs], context=nonce
    ),
    "a forged answer": lambda: verifier.verify(forged, input=image, context=nonce),
    "another image": lambda: verifier.verify(proof, input=x_test[1], context=nonce),
    "an old proof": lambda: verifier.verify(proof, input=image, context=b"request 18"),
    "a cheaper model": lambda: verifier.verify(
        (cheap := zkinfer.compile(onnx, x_train, bits=9).commit()).prove(cheap.infer(image), context=nonce),
        input=image,
        context=nonce,
    ),
}
for lie, attempt in lies.items():
    try:
        attempt()
    except zkinfer.Rejection as rejection:
        print(f"{lie}: REJECTED, {rejection.code} ({rejection})")
    else:
        raise SystemExit(f"{lie} was accepted")
