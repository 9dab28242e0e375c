"""Detection sets of TensorFlow Datasets, read without TensorFlow."""

import itertools
from collections.abc import Iterator
from typing import Any

from darts_jax.data import tfds
from darts_jax.data.licences import find_licence
from darts_jax.data.reading import PLAIN, Reading
from darts_jax.data.scenes import Scene, SceneSet, letterbox, read_scene, stack_scenes
from darts_jax.errors import InputError

CROWDS = ("is_crowd", "is_difficult")
"""Features of an object that is neither learned nor counted, in COCO and in VOC."""

_LOOKED_AT = 20  # images of a split, to see whether any has objects


def load_scene_builder(
    builder: Any, side: int, max_boxes: int, images: int, reading: Reading = PLAIN
) -> SceneSet:
    """Reads a set, after preparing it if there is a network and need to.

    Its images are scaled as `letterbox` does; objects without area are left out.

    Args:
      builder: TFDS's, of the set.
      side: of a scene, in pixels.
      max_boxes: largest number of boxes in an image.
      images: number of images of either part, the first ones; 0: all.
      reading: how images are read; its size and channels are not asked.

    Raises:
      InputError: it is not on this machine and its host does not answer, or it has no
        objects with boxes and labels, or no train and test (or validation) split that
        has.
    """
    tfds.prepare(builder)
    names, splits = _class_names(builder), builder.info.splits
    # COCO's test images have no objects: it is tested on its validation images.
    tests = [
        split
        for split in ("test", "validation")
        if split in splits and _has_objects(builder, split)
    ]
    if "train" not in splits or not tests:
        raise InputError(
            f"{builder.name} has the splits {', '.join(splits) or 'none'}; "
            "wanted train and test (or validation), with objects"
        )
    train, test = (
        stack_scenes(
            list(_scenes(builder, split, side, images, reading)),
            max_boxes,
            len(names),
            builder.name,
        )
        for split in ("train", tests[0])
    )
    licence = find_licence(builder.name, builder.info.homepage)
    return SceneSet(builder.name, train, test, names, licence=licence)


def _class_names(builder: Any) -> tuple[str, ...]:
    features = builder.info.features
    try:
        kinds = features["objects"].feature
        _ = features["image"], kinds["bbox"]
        return tuple(kinds["label"].names)
    except (KeyError, AttributeError, TypeError):
        raise InputError(
            f"{builder.name} has no objects with bbox and label: its features are "
            f"{', '.join(features)}"
        ) from None


def _source(builder: Any, split: str) -> Any:
    from tensorflow_datasets.core.decode import SkipDecoding

    return builder.as_data_source(split, decoders={"image": SkipDecoding()})


def _has_objects(builder: Any, split: str) -> bool:
    source = _source(builder, split)
    seen = range(min(len(source), _LOOKED_AT))
    return any(len(source[i]["objects"]["label"]) for i in seen)


def _scenes(
    builder: Any, split: str, side: int, images: int, reading: Reading
) -> Iterator[Scene]:
    source = _source(builder, split)
    for i in itertools.islice(range(len(source)), images or None):
        example, what = source[i], f"{builder.name} {split} image {i}"
        picture = read_scene(bytes(example["image"]), what, reading)
        (width, height), objects = picture.size, example["objects"]
        crowds = [objects[name] for name in CROWDS if name in objects]
        boxes = [
            (
                (left * width, top * height, right * width, bottom * height),
                int(label),
                any(bool(crowd[j]) for crowd in crowds),
            )
            for j, ((top, left, bottom, right), label) in enumerate(
                zip(objects["bbox"], objects["label"], strict=True)
            )
            if right > left and bottom > top
        ]
        yield letterbox(picture, boxes, side, what)
