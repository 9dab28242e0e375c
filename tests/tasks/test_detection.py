"""Boxes, losses, average precision and sets of scenes, each beside an own account."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from darts_jax.bilevel.losses import focal_loss
from darts_jax.data import generated
from darts_jax.data.coco import load_coco
from darts_jax.data.embedded import digits
from darts_jax.data.scene_sources import load_scenes
from darts_jax.errors import InputError
from darts_jax.tasks.detection import boxes
from darts_jax.tasks.detection.average_precision import Found, Truth, average_precision
from tests.support.made_data import pictures
from tests.support.reference import slow_overlap


def random_boxes(count, seed=0, side=20.0):
    ends = np.random.default_rng(seed).uniform(0, side, (count, 2, 2))
    low, high = ends.min(1), ends.max(1)
    return np.concatenate([low, high + 0.1], -1).astype(np.float32)


def test_overlaps_are_those_of_a_slow_account():
    a, b = random_boxes(50, 1), random_boxes(50, 2)
    slow = np.array([slow_overlap(*pair) for pair in zip(a, b, strict=True)])
    np.testing.assert_allclose(boxes.overlaps(a, b), slow[:, 0], atol=1e-6)
    np.testing.assert_allclose(boxes.generalized_overlaps(a, b), slow[:, 1], atol=1e-6)


def test_overlaps_by_hand():
    # 2x2 and 2x2 share 1x2: 2 of 6. The box around both is 3x2: nothing to take off.
    a = jnp.array([0.0, 0.0, 2.0, 2.0])
    b = jnp.array([1.0, 0.0, 3.0, 2.0])
    assert boxes.overlaps(a, b) == pytest.approx(1 / 3)
    assert boxes.generalized_overlaps(a, b) == pytest.approx(1 / 3)
    # Apart by 2: they cover 8 of the 12 around both.
    far = jnp.array([4.0, 0.0, 6.0, 2.0])
    assert boxes.generalized_overlaps(a, far) == pytest.approx(-4 / 12)
    slope = jax.grad(lambda x: boxes.generalized_overlaps(a, x))(far)
    assert slope[0] < 0  # nearer is better, where the overlap alone has no slope
    nothing = jnp.zeros(4)
    assert boxes.overlaps(nothing, nothing) == 0


def test_focal_loss_is_the_papers():
    logits = np.linspace(-4, 4, 9, dtype=np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    yes = -0.25 * (1 - p) ** 2 * np.log(p)
    no = -0.75 * p**2 * np.log(1 - p)
    ones = jnp.ones(9)
    np.testing.assert_allclose(focal_loss(logits, ones), yes, rtol=1e-5)
    np.testing.assert_allclose(focal_loss(logits, 0 * ones), no, rtol=1e-5)
    plain = focal_loss(logits, ones, alpha=0.5, gamma=0.0)
    np.testing.assert_allclose(plain, -0.5 * np.log(p), rtol=1e-5)
    assert np.isfinite(focal_loss(jnp.array([-1e4, 1e4]), jnp.array([1.0, 0.0]))).all()


def test_encoded_boxes_are_decoded():
    grid = boxes.make_grid((48, 32), (12, 4))
    np.testing.assert_array_equal(grid.stride, [8, 4])
    np.testing.assert_array_equal(grid.centres[5], [12, 6])
    given = random_boxes(48, 3)
    found = boxes.decode(grid, boxes.encode(grid, given))
    np.testing.assert_allclose(found, given, atol=1e-4)
    # Two pixels to the left and above, six to the right and below: of strides 8 and 4.
    sides = boxes.encode(grid, jnp.array([10.0, 4.0, 18.0, 12.0]))[5]
    np.testing.assert_allclose(sides, [0.25, 0.5, 0.75, 1.5])


def assigned(present, radius):
    """Assigns on 16x16 pixels and 4x4 locations, with centres at 2, 6, 10 and 14."""
    given = jnp.array(
        [
            [0.0, 0.0, 12.0, 12.0],  # has nine locations
            [4.0, 4.0, 8.0, 8.0],  # one of these, (6, 6)
            [12.0, 8.0, 16.0, 16.0],  # a crowd: (14, 10) and (14, 14)
        ]
    )
    grid = boxes.make_grid((16, 16), (4, 4))
    crowd = jnp.array([False, False, True])
    labels = jnp.array([3, 5, 7])
    return boxes.assign(grid, given, labels, jnp.array(present), crowd, radius)


def test_locations_tell_of_the_smallest_box_that_they_lie_in():
    targets = assigned([True, True, True], radius=1.5)
    wanted = [[3, 3, 3, 0], [3, 5, 3, 0], [3, 3, 3, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(targets.labels.reshape(4, 4), wanted)
    np.testing.assert_array_equal(targets.positive, np.ravel(wanted) > 0)
    uncounted = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    np.testing.assert_array_equal(~targets.counted.reshape(4, 4), uncounted)
    np.testing.assert_array_equal(targets.boxes[5], [4, 4, 8, 8])
    np.testing.assert_array_equal(targets.boxes[6], [0, 0, 12, 12])
    # At (2, 2): 2 to the left and above, 10 to the others; sqrt(2/10 * 2/10).
    # At (6, 2): 6 and 6, 2 and 10; sqrt(6/6 * 2/10).
    found = targets.centreness
    np.testing.assert_allclose(found[:2], [0.2, np.sqrt(0.2)], rtol=1e-6)
    np.testing.assert_allclose([found[5], found[3]], [1, 0])


def test_locations_far_from_the_middle_tell_of_nothing():
    # Within 0.9 strides of (6, 6) there is one location, and of the crowd none.
    targets = assigned([True, False, False], radius=0.9)
    assert np.flatnonzero(targets.labels).tolist() == [5]
    assert targets.labels[5] == 3
    assert targets.counted.all()
    assert not assigned([False] * 3, radius=1.5).positive.any()


def test_suppression_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    given = random_boxes(60, 4, side=8.0)
    labels = rng.integers(0, 2, 60)
    kept = []
    for i in range(60):
        if all(
            labels[i] != labels[j] or slow_overlap(given[i], given[j])[0] <= 0.4
            for j in kept
        ):
            kept.append(i)
    found = jax.jit(boxes.suppress)(given, labels, 0.4)
    assert 5 < len(kept) < 55
    assert np.flatnonzero(found).tolist() == kept


A = [0, 0, 10, 10]
B = [20, 20, 30, 30]
C = [40, 0, 50, 10]


def precision(found, truth, thresholds=(0.5,)):
    """Scores images as lists: found (box, label, score), true (box, label[, crowd])."""
    n, width = len(found), max(map(len, [*found, *truth]))
    arrays = [np.zeros((n, width, 4))] + [np.zeros((n, width)) for _ in range(2)]
    others = [np.zeros((n, width, 4)), np.zeros((n, width), int)]
    others += [np.zeros((n, width), bool) for _ in range(2)]
    for i in range(n):
        for j, row in enumerate(found[i]):
            for array, value in zip(arrays, row, strict=True):
                array[i, j] = value
        for j, (box, label, *crowd) in enumerate(truth[i]):
            for array, value in zip(others, (box, label, 1, *crowd), strict=False):
                array[i, j] = value
    return average_precision(Found(*arrays), Truth(*others), np.array(thresholds))


def test_precision_of_one_wrong_between_two_right():
    # Right, wrong, right: precision 1 at recall 1/2, then 2/3 at recall 1. Of 101
    # recalls 51 (0 to 0.50) are reached by the first: (51 + 50 * 2/3) / 101.
    wanted = (51 + 50 * 2 / 3) / 101
    truth = [[(A, 0), (B, 0)]]
    found = [[(A, 0, 0.9), (C, 0, 0.8), (B, 0, 0.7)]]
    assert precision(found, truth) == pytest.approx(wanted, abs=1e-12)
    # A second detection of a box that is taken is as wrong as one of nothing.
    again = [[(A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7)]]
    assert precision(again, truth) == pytest.approx(wanted, abs=1e-12)
    # The order in the arrays, and the image, do not matter; the scores do.
    apart = [[(B, 0, 0.7)], [(C, 0, 0.8), (A, 0, 0.9)]]
    assert precision(apart, [[(B, 0)], [(A, 0)]]) == pytest.approx(wanted, abs=1e-12)


def test_precision_where_something_is_never_found():
    # One of three: precision 1 for the recalls 0 to 0.33, 34 of them; then nothing.
    found = [[(B, 0, 0.5)]]
    truth = [[(A, 0), (B, 0), (C, 0)]]
    assert precision(found, truth) == pytest.approx(34 / 101, abs=1e-12)
    assert precision([[]], truth) == 0
    assert precision([[(A, 0, 0.5)]], [[]]) == 0


def test_precision_at_best_or_beyond():
    # Wrong first, then two right: 1/2 at recall 1/2, but 2/3 at recall 1, and the best
    # at a recall or above counts: 2/3 throughout.
    found = [[(C, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7)]]
    assert precision(found, [[(A, 0), (B, 0)]]) == pytest.approx(2 / 3, abs=1e-12)


def test_precision_over_thresholds():
    # 62 of 100 pixels: right at 0.5, 0.55 and 0.6, wrong at the seven above.
    found, truth = [[([0, 0, 10, 6.2], 0, 0.9)]], [[(A, 0)]]
    assert precision(found, truth) == 1
    all_ten = np.linspace(0.5, 0.95, 10)
    assert precision(found, truth, all_ten) == pytest.approx(0.3, abs=1e-12)


def test_precision_is_the_mean_of_the_classes_that_there_are():
    # Class 0 is found, class 1 is taken for class 2, and of that there is none.
    found = [[(A, 0, 0.9), (B, 2, 0.8)]]
    assert precision(found, [[(A, 0), (B, 1)]]) == pytest.approx(0.5, abs=1e-12)


def test_precision_does_not_count_what_lies_in_a_crowd():
    found = [[(C, 0, 0.9), (C, 0, 0.85), (A, 0, 0.8)]]
    # Both in the crowd: neither right nor wrong, and what is left is all right.
    around = ([35, 0, 60, 20], 0, True)
    assert precision(found, [[(A, 0), around]]) == 1
    # Without it two are wrong before the right one: 1/3 at every recall.
    assert precision(found, [[(A, 0)]]) == pytest.approx(1 / 3, abs=1e-12)
    # A crowd of another class excuses nothing; nor is a crowd something to be found.
    other = (around[0], 1, True)
    assert precision(found, [[(A, 0), other]]) == pytest.approx(1 / 3, abs=1e-12)


def test_of_two_boxes_the_one_that_is_overlapped_more_is_taken():
    # The first overlaps both boxes by half at least, and B' more: then A' is still free
    # for the second. Had it taken A', the second would be wrong.
    near, far = [0, 0, 10, 10], [2, 0, 12, 10]
    found = [[([1.5, 0, 11.5, 10], 0, 0.9), (near, 0, 0.8)]]
    assert precision(found, [[(near, 0), (far, 0)]]) == 1


def test_generated_boxes_touch_their_objects_on_all_sides():
    source, rng = digits(), np.random.default_rng(0)
    several = 0
    for _ in range(40):
        ground = np.zeros((48, 48, 3), np.uint8)
        images, labels = source.train_images, source.train_labels
        scene = generated.compose_scene(rng, images, labels, ground, 4)
        drawn = scene.image.any(-1)
        assert 1 <= len(scene.boxes) <= 4
        several += len(scene.boxes) > 2
        for (left, top, right, bottom), label, crowd in scene.boxes:
            part = drawn[top:bottom, left:right]
            assert part.shape == (bottom - top, right - left)
            for edge in (part[0], part[-1], part[:, 0], part[:, -1]):
                assert edge.any()
            drawn[top:bottom, left:right] = False
            assert 0 <= label < 10
            assert not crowd
        assert not drawn.any()
    assert several > 5


def generated_set(**changed):
    settings = {"side": 48, "max_boxes": 3, "images": 0, "counts": (12, 6), "seed": 0}
    return load_scenes("generated:digits", None, **(settings | changed))


def test_a_generated_set_follows_from_its_seed():
    one = generated_set()
    same = generated_set()
    other = generated_set(seed=1)
    for mine, theirs in zip(
        jax.tree.leaves((one.train, one.test)),
        jax.tree.leaves((same.train, same.test)),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(one.train.images, other.train.images)
    assert one.image_shape == (48, 48, 3)
    assert one.train.images.dtype == np.uint8
    assert (one.train_size, one.classes, one.licence) == (12, 10, digits().licence)
    sizes = one.train.boxes[..., 2:] - one.train.boxes[..., :2]
    assert (sizes[one.train.present] > 0).all()
    assert not sizes[~one.train.present].any()
    fewer = generated_set(images=5)
    np.testing.assert_array_equal(fewer.train.images, one.train.images[:5])


def marks(**changed):
    """Makes two images, with a small box, one half a pixel too far right, a crowd."""
    content = {
        "images": [
            {"id": 7, "file_name": "a.png"},
            {"id": 3, "file_name": "b.png"},
        ],
        "categories": [{"id": 90, "name": "cup"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 90, "bbox": [4, 2, 8, 10]},
            {"image_id": 7, "category_id": 18, "bbox": [20, 0, 20.5, 20], "iscrowd": 1},
            {"image_id": 7, "category_id": 18, "bbox": [5, 5, 0, 3]},
            {"image_id": 3, "category_id": 18, "bbox": [0, 0, 10, 40]},
        ],
    }
    return content | changed


@pytest.fixture
def coco(tmp_path):
    def write(content, part="train"):
        (tmp_path / part).mkdir(exist_ok=True)
        for name, shape in (("a", (20, 40)), ("b", (40, 10))):
            picture = pictures(1, 40)[0][: shape[0], : shape[1]]
            Image.fromarray(picture).save(tmp_path / part / f"{name}.png")
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
        return tmp_path

    write(marks(), "val")
    return write


def test_cocos_files_become_scenes(coco):
    found = load_coco(coco(marks()), side=20, max_boxes=3, images=0)
    assert found.class_names == ("dog", "cup")  # by their numbers, 18 and 90
    train = found.train
    # 40x20 pixels become 20x10, and what is below is black; 10x40 become 5x20.
    assert found.image_shape == (20, 20, 3)
    assert train.images[0, :10].any()
    assert not train.images[0, 10:].any()
    assert train.images[1, :, :5].any()
    assert not train.images[1, :, 5:].any()
    np.testing.assert_array_equal(train.boxes[0, 0], [2, 1, 6, 6])
    np.testing.assert_array_equal(train.boxes[0, 1], [10, 0, 20, 10])
    np.testing.assert_array_equal(train.boxes[1, 0], [0, 0, 5, 20])
    np.testing.assert_array_equal(train.present, [[1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(train.crowd, [[0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(train.labels[train.present], [1, 0, 0])
    assert (
        len(load_coco(coco(marks()), side=20, max_boxes=3, images=1).test.images) == 1
    )


def test_cocos_own_places_are_found(coco, tmp_path):
    place = coco(marks())
    (place / "annotations").mkdir()
    (place / "train").rename(place / "train2017")
    (place / "train.json").rename(place / "annotations" / "instances_train2017.json")
    assert len(load_coco(place, side=20, max_boxes=3, images=0).train.images) == 2


def mark(**changed):
    return [{"image_id": 7, "category_id": 18, "bbox": [1, 1, 5, 5]} | changed]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (marks(annotations=[]), "2 images have no boxes; want one at least"),
        (marks(annotations=mark(bbox=[30, 0, 12, 9])), "40x20 pixels and has a box 30"),
        (marks(annotations=mark(bbox=[9, 9, -2, 4])), "without area"),
        (marks(annotations=mark(category_id=4)), "is no COCO file of boxes: KeyError"),
        (marks(annotations=mark(bbox=[1, 2])), "is no COCO file of boxes"),
        (marks(annotations=mark() * 4), "has 4 boxes, and detection.boxes is 3"),
        (marks(images=[{"id": 7, "file_name": "c.png"}]), "cannot read the image"),
        (marks(categories=[{"id": 18}]), "a category lacks its id or name"),
        (marks(categories=[{"id": 18, "name": "dog"}]), "other categories"),
        ({"images": []}, "lacks annotations, categories"),
        ([], "lacks annotations, categories, images"),
    ],
)
def test_mistakes_in_cocos_files_are_told_in_one_line(coco, content, told):
    place = coco(content)
    with pytest.raises(InputError, match=told) as caught:
        load_coco(place, side=20, max_boxes=3, images=0)
    assert "\n" not in str(caught.value)


def test_unknown_scenes_are_refused(tmp_path):
    for name in ("digits", "generated:digit", "tfds:no_such_set", "coco:"):
        with pytest.raises(InputError, match=r"generated:NAME|did you mean 'digits'"):
            load_scenes(
                name, tmp_path, side=8, max_boxes=1, images=0, counts=(1, 1), seed=0
            )
    with pytest.raises(InputError, match="has none of"):
        load_coco(tmp_path, side=20, max_boxes=3, images=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS set in VOC's form, whose test images have no objects."""
    import tensorflow_datasets as tfds

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            kinds = tfds.features
            one = {
                "bbox": kinds.BBoxFeature(),
                "label": kinds.ClassLabel(names=["cup", "dog"]),
                "is_difficult": np.bool_,
            }
            features = {"image": kinds.Image(), "objects": kinds.Sequence(one)}
            return tfds.core.DatasetInfo(
                builder=self, features=kinds.FeaturesDict(features)
            )

        def _split_generators(self, manager):
            splits = ("train", "validation", "test")
            return {split: self._examples(split != "test") for split in splits}

        def _generate_examples(self):
            raise NotImplementedError

        def _examples(self, marked):
            for i in range(3):
                file = io.BytesIO()
                Image.fromarray(pictures(1, 16)[0][:8]).save(file, "PNG")
                file.seek(0)
                box = tfds.features.BBox(ymin=0.5, xmin=0.25, ymax=1.0, xmax=0.75)
                objects = [{"bbox": box, "label": i % 2, "is_difficult": i == 2}]
                yield i, {"image": file, "objects": objects if marked else []}

    Prepared.name = "made_voc"
    place = tmp_path_factory.mktemp("tfds")
    builder = Prepared(data_dir=place, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return place


def test_tfds_scenes(prepared):
    settings = {"side": 32, "max_boxes": 2, "images": 0, "counts": (0, 0), "seed": 0}
    found = load_scenes("tfds:made_voc", prepared, **settings)
    # Shares (top, left, bottom, right) of 16x8 pixels, which become 32x16.
    np.testing.assert_array_equal(found.test.boxes[0, 0], [8, 8, 24, 16])
    assert found.class_names == ("cup", "dog")
    train = found.train
    assert sorted(train.labels[:, 0]) == [0, 0, 1]
    assert train.present.sum() == 3
    assert train.crowd.sum() == 1
    assert train.images.shape == (3, 32, 32, 3)
