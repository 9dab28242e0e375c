"""Outputs of an exported network: ``python load.py [IMAGES.npy]``.

Needs jax, numpy and flatbuffers, which `jax.export` reads its files by. ``card.json``
has shape and type of what the network takes; without any there is noise.
"""

import json
import sys
from pathlib import Path

import numpy as np
from jax import export, jit

if __name__ == "__main__":
    here = Path(__file__).parent
    card = json.loads((here / "card.json").read_text())
    model = export.deserialize(bytearray((here / "model.jax_export").read_bytes()))
    shape = (4, *card["input"]["shape"][1:])
    noise = np.random.default_rng(0).integers(0, 256, shape)
    images = np.load(sys.argv[1]) if sys.argv[1:] else noise
    names = card["output"].get("classes")
    for logits in np.asarray(jit(model.call)(images.astype(card["input"]["dtype"]))):
        print(*([names[logits.argmax()]] if names else []), logits)
