"""Images a second and core of a stream, beside Pillow's own decoding of the files.

JPEG files of ImageNet's usual size are made and read in turn: decoded by Pillow alone;
decoded, cropped and scaled by Pillow as PyTorch's vision library does it; and as a
stream gives them for training (random resized crops of 224) and for the test (224 from
256 at the centre). Rounds are interleaved, and seconds are those of the CPU, of all
threads, so that other work on the machine does not count.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from darts_jax.data import batches, load_dataset
from darts_jax.data.random_crop import RandomCrop
from darts_jax.data.reading import Reading

SIDE, SHORT, AREA = 224, 256, 0.08


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--folder", help="with train and val in it, in place of made files"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(options.folder or made)
        if not options.folder:
            write_pictures(folder, options.images, options.height, options.width)
        rates = measure(readers(folder, options.images), options.rounds)
    decoding = statistics.median(rates["Pillow decodes"])
    rows = [
        {
            "reader": name,
            "images per CPU second": round(statistics.median(found), 1),
            "of decoding": round(statistics.median(found) / decoding, 3),
        }
        for name, found in rates.items()
    ]
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    print(json.dumps(rows))


def readers(folder: Path, images: int) -> dict[str, Callable[[], int]]:
    """Returns name -> function that reads images once, and returns how many."""
    data = load_dataset(
        f"stream:folder:{folder}@{SIDE}", reading=Reading(short_side=SHORT)
    )
    data = data.first(images)
    files = sorted(folder.glob("train/*/*.jpg"))[:images]
    crop = RandomCrop(AREA, (0,))

    def decode() -> int:
        for file in files:
            np.asarray(Image.open(file).convert("RGB"))
        return len(files)

    def decode_and_crop() -> int:
        for i, file in enumerate(files):
            picture = Image.open(file).convert("RGB")
            top, left, height, width = map(
                int, crop.choose(i, picture.height, picture.width)
            )
            part = picture.crop((left, top, left + width, top + height))
            np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        return len(files)

    def stream(source: object, crop: RandomCrop | None) -> int:
        settings = {"seed": 0, "epoch": 0, "batch_size": 16, "crop": crop}
        return sum(len(labels) for _, labels in batches(source, **settings))

    return {
        "Pillow decodes": decode,
        "Pillow decodes, crops at random, scales": decode_and_crop,
        "stream for training": lambda: stream(data.train, crop),
        "stream for the test": lambda: stream(data.test, None),
    }


def measure(
    readers: dict[str, Callable[[], int]], rounds: int
) -> dict[str, list[float]]:
    """Returns name -> images a CPU second of each round, after one that warms up."""
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, read in readers.items():
            began = time.process_time()
            count = read()
            if turn:
                rates[name].append(count / (time.process_time() - began))
    return rates


def write_pictures(folder: Path, images: int, height: int, width: int) -> None:
    """Writes pictures with as much detail as photographs: noise of every scale."""
    rng = np.random.default_rng(0)
    for half in ("train", "val"):
        for i in range(images):
            place = folder / half / f"class_{i % 2}"
            place.mkdir(parents=True, exist_ok=True)
            levels = np.full((height, width, 3), 128.0)
            for octave in range(7):
                grain = 2**octave
                shape = (-(-height // grain), -(-width // grain), 3)
                noise = rng.normal(0, 9 * 1.25**octave, shape)
                noise = noise.repeat(grain, 0).repeat(grain, 1)
                levels += noise[:height, :width]
            picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
            picture.save(place / f"{i}.jpg", quality=90)


if __name__ == "__main__":
    main()
