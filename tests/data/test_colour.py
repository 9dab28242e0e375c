"""Changes of colour against Pillow and colorsys; mixed images against a sum by hand."""

import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import stats

from darts_jax.bilevel.losses import batch_loss, cross_entropy, sum_metrics
from darts_jax.data import Augmentation, augment
from darts_jax.data.colour import Jitter, blend, jitter_colours, turn_hue
from darts_jax.data.pipeline import mix_up
from darts_jax.errors import InputError
from darts_jax.types import Examples
from tests.support.made_data import pictures

KINDS = {"Brightness": 0, "Contrast": 1, "Color": 2}
RGB = pictures(2, 9, seed=4)


def changed(kind, factor, images):
    shape = (len(images), 1, 1, 1)
    levels = jnp.asarray(images, jnp.float32)
    return np.asarray(blend(levels, jnp.full(shape, kind), jnp.full(shape, factor)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_brightness_contrast_and_saturation_are_those_of_pillow(kind, factor):
    got = changed(KINDS[kind], factor, RGB)
    for image, found in zip(RGB, got, strict=True):
        enhance = getattr(ImageEnhance, kind)(Image.fromarray(image))
        # Pillow rounds the mean gray, each gray and the result.
        assert np.abs(np.asarray(enhance.enhance(factor), float) - found).max() < 1.5


def test_contrast_of_gray_images_is_that_of_pillow():
    gray = pictures(1, 9, 1, seed=2)
    picture = Image.fromarray(gray[0, ..., 0])
    wanted = np.asarray(ImageEnhance.Contrast(picture).enhance(1.3), float)
    assert np.abs(changed(1, 1.3, gray)[0, ..., 0] - wanted).max() < 1.5


@pytest.mark.parametrize("turn", [0.0, 0.13, -0.2, 0.5])
def test_hue_is_turned_as_by_colorsys(turn):
    plain = [(7, 7, 7), (9, 9, 3), (3, 9, 9), (9, 3, 9), (0, 0, 0), (255, 0, 0)]
    levels = np.array([*plain, *RGB.reshape(-1, 3)], np.float32)[None, None]
    got = turn_hue(jnp.asarray(levels), jnp.full((1, 1, 1, 1), turn))
    for pixel, found in zip(levels[0, 0], np.asarray(got)[0, 0], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel.astype(float))
        wanted = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_factors_and_turns_are_uniform():
    key, count = jax.random.key(0), 3000
    gray = np.full((count, 1, 1, 1), 100, np.uint8)
    bright = jitter_colours(key, gray, Jitter(brightness=0.4))[:, 0, 0, 0] / 100
    assert stats.kstest(np.asarray(bright), stats.uniform(0.6, 0.8).cdf).pvalue > 0.01
    red = np.tile(np.array([200, 100, 100], np.uint8), (count, 1, 1, 1))
    turned = np.asarray(jitter_colours(key, red, Jitter(hue=0.2)))[:, 0, 0]
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in turned.astype(float)])
    hues = (hues + 0.5) % 1 - 0.5
    assert stats.kstest(hues, stats.uniform(-0.2, 0.4).cdf).pvalue > 0.01


def test_changes_are_made_in_an_order_of_each_image():
    pair = np.tile(np.array([10, 250], np.uint8)[:, None, None], (400, 1, 1, 1))
    jitter = Jitter(brightness=1.0, contrast=1.0)
    got = np.asarray(jitter_colours(jax.random.key(1), pair, jitter))[..., 0, 0]
    factor_key, _ = jax.random.split(jax.random.key(1))
    low = jnp.array([0.0, 0, 1, 0])
    high = jnp.array([2.0, 2, 1, 0])
    factors = jax.random.uniform(factor_key, (400, 4), minval=low, maxval=high)

    def by_hand(order, bright, contrast):
        levels = np.array([10.0, 250.0])
        for name in order:
            base = levels.mean() if name == "contrast" else 0.0
            factor = contrast if name == "contrast" else bright
            levels = np.clip(base + factor * (levels - base), 0, 255)
        return levels

    orders = list(itertools.permutations(["bright", "contrast"]))
    counts = np.zeros(2)
    for found, (bright, contrast, *_) in zip(got, np.asarray(factors), strict=True):
        wanted = [by_hand(order, bright, contrast) for order in orders]
        matches = [np.allclose(found, w, atol=1e-2) for w in wanted]
        assert any(matches)
        if not all(matches):
            counts += matches
    assert counts.sum() > 100
    assert stats.binomtest(int(counts[0]), int(counts.sum())).pvalue > 0.01


def test_without_jitter_the_pixels_are_the_same_bits():
    mean = np.full(3, 0.4, np.float32)
    std = np.full(3, 0.2, np.float32)
    key, images = jax.random.key(2), jnp.asarray(RGB)
    plain = augment(key, images, Augmentation(1, True, 2), mean, std)
    off = Augmentation(1, True, 2, crop_area=1.0, jitter=Jitter())
    np.testing.assert_array_equal(plain, augment(key, images, off, mean, std))
    on = Augmentation(1, True, 2, jitter=Jitter(hue=0.1))
    assert (np.asarray(augment(key, images, on, mean, std)) != plain).any()


def test_impossible_jitter_is_told():
    for wrong, told in (
        ({"contrast": -1}, "jitter contrast=-1 must be 0"),
        ({"hue": 0.6}, r"jitter hue=0\.6 must be 0\.5"),
    ):
        with pytest.raises(InputError, match=told):
            Jitter(**wrong)
    five = np.zeros((1, 2, 2, 5), np.uint8)
    with pytest.raises(InputError, match="these have 5 channels"):
        jitter_colours(jax.random.key(0), five, Jitter(hue=0.1))


def test_mixed_images_are_sums_whose_loss_is_that_of_both_labels():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(6, 2, 2, 3)), jnp.float32)
    batch = Examples(images, jnp.arange(6) % 4)
    mixed = mix_up(jax.random.key(5), batch, 0.4)
    (share,) = set(np.asarray(mixed.partners.shares).tolist())
    assert 0 < share < 1
    partners = []
    for own, image in zip(images, np.asarray(mixed.images), strict=True):
        sums = share * own + (1 - share) * images
        (partner,) = np.flatnonzero(np.isclose(sums, image, atol=1e-6).all((1, 2, 3)))
        partners.append(partner)
    assert sorted(partners) == list(range(6))
    np.testing.assert_array_equal(mixed.partners.labels, np.array(partners) % 4)
    logits = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)
    weights = np.array([1.0, 2.0, 0.5, 0.5], np.float32)
    target = np.zeros((6, 4))
    for row, j in enumerate(partners):
        target[row, row % 4] += share * weights[row % 4]
        target[row, j % 4] += (1 - share) * weights[j % 4]
    log_p = np.asarray(jax.nn.log_softmax(logits), float)
    wanted = -(target * log_p).sum(1).mean()
    assert batch_loss(logits, mixed, 0.0, weights) == pytest.approx(wanted, rel=1e-5)
    plain = cross_entropy(logits, batch.labels, 0.1)
    assert batch_loss(logits, batch, 0.1) == plain
    correct = sum_metrics(jnp.zeros(()), logits, mixed)["correct"]
    top = np.argmax(np.asarray(logits), 1)
    by_hand = share * (top == np.arange(6) % 4)
    by_hand = by_hand + (1 - share) * (top == np.array(partners) % 4)
    assert correct == pytest.approx(by_hand.sum(), rel=1e-5)


def test_shares_of_mixed_images_are_of_the_beta_distribution():
    batch = Examples(jnp.zeros((2, 1, 1, 1)), jnp.zeros(2, jnp.int32))
    keys = jax.random.split(jax.random.key(0), 2000)
    shares = jax.vmap(lambda key: mix_up(key, batch, 0.2).partners.shares[0])(keys)
    assert stats.kstest(np.asarray(shares), stats.beta(0.2, 0.2).cdf).pvalue > 0.01
