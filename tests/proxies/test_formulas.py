"""Every proxy on small networks, against NumPy's closed forms in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from darts_jax.errors import InputError, look_up
from darts_jax.models.macro import BLOCK_OUTPUT
from darts_jax.proxies import PROXIES, UntrainedNetwork
from darts_jax.types import Examples

IMAGES, SIDE, CHANNELS, HIDDEN, CLASSES = 8, 2, 3, 7, 4
PIXELS = SIDE * SIDE * CHANNELS


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def score(name, network, batch):
    return float(jax.jit(lambda b: PROXIES[name](network, b))(batch))


class Perceptron:
    """ReLU network of one hidden layer, with its derivatives by hand."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(IMAGES, PIXELS))
        self.labels = rng.integers(0, CLASSES, IMAGES)
        self.first = rng.normal(size=(PIXELS, HIDDEN))
        self.last = rng.normal(size=(HIDDEN, CLASSES))
        self.bias = rng.normal(size=CLASSES)

    @property
    def batch(self):
        images = self.x.reshape(IMAGES, SIDE, SIDE, CHANNELS)
        return Examples(jnp.asarray(images), jnp.asarray(self.labels, jnp.int32))

    @property
    def network(self):
        params = {
            "first": {"kernel": jnp.asarray(self.first)},
            "head": {"kernel": jnp.asarray(self.last), "bias": jnp.asarray(self.bias)},
        }

        def apply(params, stats, images, *, train):
            del stats, train
            hidden = images.reshape(len(images), -1) @ params["first"]["kernel"]
            head = params["head"]
            return jax.nn.relu(hidden) @ head["kernel"] + head["bias"]

        return UntrainedNetwork(apply, params, {})

    def forward(self, x):
        z = x @ self.first
        return z, np.maximum(z, 0) @ self.last + self.bias

    def slopes(self, x, labels):
        """Slopes of the mean loss by hidden inputs and logits, image by image."""
        z, logits = self.forward(x)
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        delta = powers / powers.sum(-1, keepdims=True) - np.eye(CLASSES)[labels]
        delta = delta / len(x)
        return (delta @ self.last.T) * (z > 0), delta

    def gradient(self, x, labels):
        back, delta = self.slopes(x, labels)
        hidden = np.maximum(self.forward(x)[0], 0)
        return [x.T @ back, hidden.T @ delta]


@pytest.fixture(scope="module")
def small():
    return Perceptron()


def expect(small, name):
    """The score by NumPy."""
    weights = [small.first, small.last]
    gradient = small.gradient(small.x, small.labels)
    pairs = list(zip(weights, gradient, strict=True))
    z, logits = small.forward(small.x)
    if name == "params":
        return small.first.size + small.last.size + small.bias.size
    if name == "flops":
        return small.first.size + small.last.size
    if name == "l2_norm":
        return sum(np.linalg.norm(w) for w in weights)
    if name == "grad_norm":
        return sum(np.linalg.norm(g) for g in gradient)
    if name == "plain":
        return sum((w * g).sum() for w, g in pairs)
    if name == "snip":
        return sum(np.abs(w * g).sum() for w, g in pairs)
    if name == "synflow":
        # Each of the two layers has the whole flow, less that of the bias.
        return 2 * (np.abs(small.first).sum(0) @ np.abs(small.last)).sum()
    if name == "fisher":
        back, delta = small.slopes(small.x, small.labels)
        by_channel = [np.mean((z * back) ** 2, 0), np.mean((logits * delta) ** 2, 0)]
        return sum(each.sum() for each in by_channel) / 2
    if name == "jacov":
        jacobian = ((z > 0) * small.last.sum(1)) @ small.first.T
        values = np.linalg.eigvalsh(np.corrcoef(jacobian)) + 1e-5
        return -np.sum(np.log(values) + 1 / values)
    if name == "naswot":
        equal = [[np.sum((a > 0) == (b > 0)) for b in z] for a in z]
        return np.linalg.slogdet(np.array(equal, float))[1]
    assert name == "zico"
    parts = [
        small.gradient(small.x[rows], small.labels[rows])
        for rows in np.split(np.arange(IMAGES), 2)
    ]
    total = 0.0
    for layer in zip(*parts, strict=True):
        stacked = np.stack(layer)
        spread = stacked.std(0)
        steady = np.abs(stacked).mean(0)[spread > 0] / spread[spread > 0]
        total += np.log(steady.sum())
    return total


@pytest.mark.parametrize(
    "name", [n for n in PROXIES if n not in ("grasp", *list(PROXIES)[-3:])]
)
def test_perceptron(small, name):
    found = score(name, small.network, small.batch)
    np.testing.assert_allclose(found, expect(small, name), rtol=1e-9)


def test_grasp_is_minus_weights_times_hessian_times_gradient(small):
    """The Hessian is that of softmax regression, which is known."""
    x, labels = small.x, small.labels
    w = np.random.default_rng(1).normal(size=(PIXELS, CLASSES)) / 4

    def apply(params, stats, images, *, train):
        del stats, train
        return images.reshape(len(images), -1) @ params["kernel"]

    share = np.exp(x @ w)
    share = share / share.sum(-1, keepdims=True)
    gradient = x.T @ (share - np.eye(CLASSES)[labels]) / IMAGES
    change = x @ gradient
    change = share * (change - (share * change).sum(-1, keepdims=True))
    product = x.T @ change / IMAGES
    network = UntrainedNetwork(apply, {"kernel": jnp.asarray(w)}, {})
    found = score("grasp", network, small.batch)
    np.testing.assert_allclose(found, -(w * product).sum(), rtol=1e-9)


@pytest.fixture(scope="module")
def blocks():
    """Three blocks of 1x1 convolutions, the second of which halves the image."""
    rng = np.random.default_rng(2)
    return [rng.normal(size=shape) for shape in ((3, 4), (4, 5), (5, 5))]


def run_blocks(weights, images):
    """Outputs of the blocks by NumPy, first to last."""
    first = images @ weights[0]
    second = np.maximum(first[:, ::2, ::2], 0) @ weights[1]
    return [first, second, np.maximum(second, 0) @ weights[2]]


def block_network(weights):
    def apply(params, stats, images, *, train):
        del stats, train

        def block(x, name):
            return checkpoint_name(x @ params[name]["kernel"], BLOCK_OUTPUT)

        x = jax.nn.relu(block(images, "0"))
        x = jax.nn.relu(block(x[:, ::2, ::2], "1"))
        return block(x, "2").mean((1, 2))

    params = {str(i): {"kernel": jnp.asarray(w)} for i, w in enumerate(weights)}
    return UntrainedNetwork(apply, params, {})


def test_az_nas_entropies(small, blocks):
    rows = np.random.default_rng(3).normal(size=(IMAGES, 4, 4, CHANNELS))
    batch = Examples(jnp.asarray(rows), small.batch.labels)
    entropies = []
    for output in run_blocks(blocks, rows):
        values = np.linalg.eigvalsh(np.cov(output.reshape(-1, output.shape[-1]).T))
        share = values / values.sum()
        entropies.append(-np.sum(share * np.log(share + 1e-8)))
    network = block_network(blocks)
    found = score("expressivity", network, batch)
    np.testing.assert_allclose(found, sum(entropies), rtol=1e-9)
    found = score("progressivity", network, batch)
    np.testing.assert_allclose(found, np.diff(entropies).min(), rtol=1e-9)


def test_az_nas_trainability(small, blocks):
    rows = np.random.default_rng(3).normal(size=(IMAGES, 4, 4, CHANNELS))
    batch = Examples(jnp.asarray(rows), small.batch.labels)
    first, second, third = run_blocks(blocks, rows)
    signs = [
        np.array(
            jax.random.rademacher(
                jax.random.fold_in(jax.random.key(0), i), output.shape, jnp.float64
            )
        )
        for i, output in enumerate((first, second, third))
    ]
    # The second block sees one pixel of four; the others have no slope.
    seen = (signs[1] @ blocks[1].T) * (first[:, ::2, ::2] > 0)
    spread = np.zeros((IMAGES, 2, 2, 4, 4))
    spread[..., 0] = seen  # four pixels of an output's place, as further channels
    slopes = [
        spread.reshape(-1, 16),
        ((signs[2] @ blocks[2].T) * (second > 0)).reshape(-1, 5),
    ]
    scores = []
    for slope, sign in zip(slopes, signs[1:], strict=True):
        outputs = sign.reshape(-1, sign.shape[-1])
        value = np.linalg.norm(slope.T @ outputs / len(outputs), 2)
        scores.append(2 - value - 1 / (value + 1e-6))
    found = score("trainability", block_network(blocks), batch)
    np.testing.assert_allclose(found, np.mean(scores), rtol=1e-9)


def test_unknown_name():
    with pytest.raises(InputError, match="naswot"):
        look_up(PROXIES, "nas_wot", "proxy")
