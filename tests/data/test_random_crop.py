"""Random resized crops: the published rule, on the host and on the device."""

import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from darts_jax.data import Augmentation, augment, batches, load_dataset
from darts_jax.data.random_crop import TRIES, Box, RandomCrop, choose_box
from darts_jax.data.reading import Reading, crop_to_fit, fit
from darts_jax.errors import InputError
from tests.support.made_data import smooth_picture, write_pictures

AREA = 0.08


def boxes(height, width, count=4000, area=AREA):
    """Boxes of many images of one size: float64 [image, top-left-height-width]."""
    crop = RandomCrop(area, (5, 0))
    return np.array([crop.choose(i, height, width) for i in range(count)], float)


def published_box(rng, height, width, area=AREA):
    """torchvision's rule, from its documentation: up to ten tries, then the centre."""
    for _ in range(10):
        target = height * width * rng.uniform(area, 1)
        shape = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w = round(math.sqrt(target * shape))
        h = round(math.sqrt(target / shape))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(height - h + 1), rng.integers(width - w + 1), h, w
    if width / height < 3 / 4:
        h, w = round(width / (3 / 4)), width
    elif width / height > 4 / 3:
        h, w = height, round(height * 4 / 3)
    else:
        h, w = height, width
    return (height - h) // 2, (width - w) // 2, h, w


def test_area_and_shape_of_boxes_are_distributed_as_published():
    # In so wide a range of small areas every box fits, so the laws are exact.
    found = boxes(2000, 2000, area=0.08)
    area = found[:, 2] * found[:, 3] / 2000**2
    shape = np.log(found[:, 3] / found[:, 2]) / np.log(4 / 3)
    small = area < 0.5  # at most 0.5 * 4/3 < 1 of a side squared: never refused
    uniform = stats.uniform(AREA, 0.5 - AREA)
    assert stats.kstest(area[small], uniform.cdf).pvalue > 0.01
    assert stats.kstest(shape[small], stats.uniform(-1, 2).cdf).pvalue > 0.01
    free = 2000 - found[:, 2:]
    place = found[:, :2] / np.maximum(free, 1)
    assert stats.kstest(place[free[:, 0] > 200, 0], "uniform").pvalue > 0.01
    assert stats.kstest(place[free[:, 1] > 200, 1], "uniform").pvalue > 0.01


@pytest.mark.parametrize("size", [(375, 500), (60, 20), (9, 300)])
def test_boxes_are_those_of_the_published_rule(size):
    found = boxes(*size)
    rng = np.random.default_rng(0)
    wanted = np.array([published_box(rng, *size) for _ in range(4000)])
    for side in range(4):
        assert stats.ks_2samp(found[:, side], wanted[:, side]).pvalue > 0.001
    assert (found >= 0).all()
    assert (found[:, :2] + found[:, 2:] <= size).all()


def test_a_box_that_never_fits_is_central():
    draws = np.full((TRIES, 4), 0.999)
    box = choose_box(draws, 100, 300, 0.9)
    assert box == (0, 83, 100, 133)
    tall = choose_box(draws, 300, 100, 0.9)
    assert tall == (83, 0, 133, 100)


def test_host_and_device_choose_the_same_box():
    draws = np.random.default_rng(0).random((50, TRIES, 4), np.float32)
    choose = jax.jit(jax.vmap(lambda d: choose_box(d, 90, 160, AREA)))
    device = np.stack([np.asarray(side) for side in choose(jnp.asarray(draws))], 1)
    host = np.array([choose_box(d, 90, 160, AREA) for d in draws])
    # A side or a place at a half may be rounded to either neighbour.
    assert np.abs(device - host).max() <= 1
    assert (device == host).mean() > 0.99


@pytest.mark.parametrize("channels", [1, 3])
def test_a_part_of_an_image_is_cropped_and_scaled_as_pillow_does(channels):
    picture = smooth_picture(70, 90)
    crop = RandomCrop(AREA, (1,))
    for i in range(20):
        top, left, height, width = crop.choose(i, 70, 90)
        part = picture.crop((left, top, left + width, top + height))
        part = part.convert("L" if channels == 1 else "RGB")
        wanted = np.asarray(part.resize((24, 16), Image.Resampling.BILINEAR))
        got = crop_to_fit(
            np.asarray(picture),
            (16, 24, channels),
            "",
            Reading(),
            lambda h, w, i=i: crop.choose(i, h, w),
        )
        np.testing.assert_array_equal(got, wanted.reshape(got.shape))


def test_a_part_of_a_large_jpeg_is_nearly_that_of_the_whole():
    """Decoded at a half, a quarter or an eighth, which is quicker."""
    stored = io.BytesIO()
    smooth_picture(900, 1200).save(stored, "JPEG", quality=95)
    whole = Image.open(stored)
    for box in ((11, 23, 800, 1100), (300, 401, 111, 133)):
        top, left, height, width = box
        part = whole.crop((left, top, left + width, top + height))
        wanted = np.asarray(part.resize((32, 32), Image.Resampling.BILINEAR), float)
        got = crop_to_fit(
            stored.getvalue(),
            (32, 32, 3),
            "",
            Reading(),
            lambda height, width, box=box: (
                Box(*box) if (height, width) == (900, 1200) else None
            ),
        )
        assert np.abs(got - wanted).mean() < 1.5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_a_part_is_of_the_upright_image(form):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    stored = io.BytesIO()
    picture = smooth_picture(40, 60)
    options = {"quality": 95} if form == "JPEG" else {}
    picture.save(stored, form, exif=exif, **options)
    sizes = []

    def choose(height, width):
        sizes.append((height, width))
        return Box(6, 4, 50, 30)

    got = crop_to_fit(stored.getvalue(), (25, 15, 3), "", Reading(), choose)
    assert sizes == [(60, 40)]
    upright = picture.transpose(Image.Transpose.ROTATE_270)
    part = upright.crop((4, 6, 34, 56)).resize((15, 25), Image.Resampling.BILINEAR)
    assert np.abs(got - np.asarray(part, float)).mean() < 3


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, classes=3, train=8, test=2)
    return load_dataset(f"stream:folder:{folder}@16")


def read(stream, crop=RandomCrop(0.3, (1, 2)), **settings):  # noqa: B008 (frozen)
    settings = {"seed": 1, "epoch": 2, "batch_size": 4, "crop": crop} | settings
    return list(batches(stream.train, **settings))


def test_crops_of_a_stream_repeat_and_are_of_the_image_alone(stream):
    whole = read(stream)
    for again in (read(stream, prefetch=0), read(stream, start=2)):
        for (images, labels), (same, too) in zip(
            again, whole[-len(again) :], strict=True
        ):
            np.testing.assert_array_equal(images, same)
            np.testing.assert_array_equal(labels, too)
    parts = [read(stream, process_index=i, process_count=2) for i in range(2)]
    joined = np.concatenate([parts[0][0][0], parts[1][0][0]])
    np.testing.assert_array_equal(joined, whole[0][0])
    larger = read(stream.first(24), batch_size=8)
    np.testing.assert_array_equal(larger[0][0][:4], whole[0][0])


def test_crops_differ_by_pass_and_from_the_whole(stream):
    passes = [read(stream, RandomCrop(0.3, (1, i)))[0][0] for i in range(2)]
    assert (passes[0] != passes[1]).any((1, 2, 3)).all()
    assert (passes[0] != read(stream, None)[0][0]).any((1, 2, 3)).all()


def test_sources_that_hold_no_stored_images_cannot_be_cropped():
    source = [(np.zeros((4, 4, 3), np.uint8), 0)] * 4
    found = batches(source, seed=0, epoch=0, batch_size=2, crop=RandomCrop(0.5, ()))
    with pytest.raises(InputError, match=r"a list has no images .* from_sources"):
        next(iter(found))


def test_crops_in_memory_are_scaled_as_pillow_does():
    picture = smooth_picture(24, 24)
    images = np.stack([np.asarray(picture)] * 16)
    key = jax.random.key(3)
    zero = np.zeros(3, np.float32)
    one = np.ones(3, np.float32)
    changed = jax.jit(
        lambda key: augment(key, images, Augmentation(crop_area=AREA), zero, one)
    )
    got = np.asarray(changed(key)) * 255
    draws = jax.vmap(lambda k: jax.random.uniform(k, (TRIES, 4)))(
        jax.random.split(jax.random.fold_in(key, 3), 16)
    )
    for image, own in zip(got, draws, strict=True):
        top, left, height, width = (int(x) for x in choose_box(own, 24, 24, AREA))
        part = picture.crop((left, top, left + width, top + height))
        wanted = np.asarray(part.resize((24, 24), Image.Resampling.BILINEAR), float)
        assert np.abs(image - wanted).max() < 1.01  # Pillow rounds after each direction
    assert len(np.unique(got, axis=0)) == 16


@pytest.mark.parametrize("size", [(256, 341), (300, 257), (500, 375), (90, 700)])
def test_a_test_image_is_the_centre_of_one_whose_short_side_is_256(size):
    stored = io.BytesIO()
    smooth_picture(*size).save(stored, "JPEG", quality=90)
    picture = Image.open(stored)
    # torchvision's Resize(256) and CenterCrop(224), by Pillow alone.
    width, height = picture.size
    short = min(width, height)
    scaled = (int(256 * width / short), int(256 * height / short))
    resized = picture.resize(scaled, Image.Resampling.BILINEAR)
    left = round((scaled[0] - 224) / 2)
    top = round((scaled[1] - 224) / 2)
    wanted = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    reading = Reading(short_side=256)
    got = fit(stored.getvalue(), (224, 224, 3), "", reading)
    np.testing.assert_array_equal(got, wanted)


def test_impossible_short_sides_are_told(tmp_path):
    write_pictures(tmp_path, classes=2, train=2, test=1)
    for name, reading, told in (
        ("stream:folder:{}@224", Reading(short_side=200), "want 224 or more, or 0"),
        ("folder:{}", Reading(short_side=20), "want both, as data.size=224"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            load_dataset(name.format(tmp_path), reading=reading)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"data\.fit=squeeze crops nothing"):
        Reading(fit="squeeze", short_side=20)
    with pytest.raises(InputError, match="crop_area=0 must be above 0"):
        Augmentation(crop_area=0)
