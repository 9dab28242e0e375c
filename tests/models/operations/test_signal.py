"""Operations of signals equal PyTorch's one-dimensional ones, with their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.cost.networks import network_cost
from darts_jax.models.functional import initialize_supernet, supernet_apply
from darts_jax.models.network import Network
from darts_jax.models.operations.image import make_operation
from darts_jax.models.operations.layers import draw
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import sample_genotype
from darts_jax.types import Mixture

torch = pytest.importorskip(
    "torch", reason="PyTorch, which is compared with, is not installed"
)
nn = torch.nn
torch.set_num_threads(1)

CHANNELS = 4


def conv(kernel, stride=1, dilation=1, groups=1):
    padding = dilation * (kernel // 2)
    return nn.Conv1d(
        CHANNELS,
        CHANNELS,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=False,
        dtype=torch.float64,
    )


def norm():
    return nn.BatchNorm1d(CHANNELS, affine=False, dtype=torch.float64)


def separable(kernel, stride, dilation=1):
    depthwise = conv(kernel, stride, dilation, groups=CHANNELS)
    return [nn.ReLU(), depthwise, conv(1), norm()]


class Reduce(nn.Module):
    def __init__(self):
        super().__init__()
        half = CHANNELS // 2
        self.first, self.second = (
            nn.Conv1d(CHANNELS, half, 1, 2, bias=False, dtype=torch.float64)
            for _ in range(2)
        )
        self.norm = norm()

    def forward(self, x):
        x = torch.relu(x)
        further = nn.functional.pad(x[..., 1:], (0, x.shape[-1] % 2))
        return self.norm(torch.cat([self.first(x), self.second(further)], 1))


THEIRS = {
    "max_pool_3": lambda s: [nn.MaxPool1d(3, s, 1), norm()],
    "avg_pool_3": lambda s: [nn.AvgPool1d(3, s, 1, count_include_pad=False), norm()],
    "sep_conv_3": lambda s: separable(3, s) + separable(3, 1),
    "sep_conv_5": lambda s: separable(5, s) + separable(5, 1),
    "dil_conv_3": lambda s: separable(3, s, 2),
    "dil_conv_5": lambda s: separable(5, s, 2),
    "nor_conv_1": lambda s: [nn.ReLU(), conv(1, s), norm()],
    "nor_conv_3": lambda s: [nn.ReLU(), conv(3, s), norm()],
    "skip_connect": lambda s: [Reduce()] if s == 2 else [nn.Identity()],
}


def convolutions(params):
    """Kernels of the package in the order in which the layers run."""
    names = sorted(params, key=lambda name: (name[-1], "Depth" not in name))
    return [params[name]["kernel"] for name in names if "kernel" in params[name]]


@pytest.mark.parametrize("length", [9, 12])
@pytest.mark.parametrize("name", THEIRS)
def test_an_operation_equals_pytorchs_in_one_dimension(name, length):
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(3, length, CHANNELS))
    for stride in (1, 2):
        net = nn.Sequential(*THEIRS[name](stride))
        if name == "avg_pool_3":
            net[0] = _average(stride)
        with jax.enable_x64(True):
            module = make_operation(name, CHANNELS, stride, discrete=False)
            x = jnp.asarray(signals)[:, None]
            made = draw(jax.random.key(1), module.init(jax.random.key(0), x, True))
            from_jax = jax.tree.map(
                lambda leaf: rng.normal(size=leaf.shape), made.get("params", {})
            )
            kernels = convolutions(from_jax)
            theirs = [p for p in net.parameters() if p.ndim == 3]
            assert len(kernels) == len(theirs)
            for kernel, given in zip(kernels, theirs, strict=True):
                _, width, *channels = kernel.shape
                moved = kernel.reshape(width, *channels).T
                if len(channels) == 1:
                    moved = moved[:, None]
                assert moved.shape == given.shape, "a kernel of one dimension"
                given.data = torch.tensor(moved)

            def loss(params, x, module=module, made=made):
                variables = {**made, "params": params}
                y, _ = module.apply(variables, x, True, mutable=["batch_stats"])
                return jnp.sum(jnp.sin(y)), y

            gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
            (_, y), (by_params, by_x) = jax.jit(gradient)(from_jax, x)
        seen = torch.tensor(signals.transpose(0, 2, 1).copy(), requires_grad=True)
        want = net.train()(seen)
        torch.sum(torch.sin(want)).backward()
        assert y.shape[1:3] == (1, -(-length // stride))
        check(y[:, 0], want.detach().numpy().transpose(0, 2, 1))
        check(by_x[:, 0], seen.grad.numpy().transpose(0, 2, 1))
        for found, given in zip(convolutions(by_params), theirs, strict=True):
            wanted = given.grad.permute(2, 1, 0)
            check(found.reshape(wanted.shape), wanted)


def _average(stride):
    """PyTorch's average over values of the signal alone, which it has in 2d only."""

    class Average(nn.Module):
        def forward(self, x):
            pool = nn.AvgPool2d((1, 3), (1, stride), (0, 1), count_include_pad=False)
            return pool(x[:, :, None])[:, :, 0]

    return Average()


def check(found, want):
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["darts_1d", "nasbench201_1d", "mobile_small_1d"])
def test_a_network_of_signals_has_no_weight_of_a_second_axis(name):
    space = get_space(name)
    cells = 1 if "nas" in name else 3
    key = jax.random.key(0)
    net = Supernet(space, 3, cells, 4)
    shapes = jax.eval_shape(lambda: initialize_supernet(net, key, (1, 32, 2)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes.params):
        if path[-1].key == "kernel" and leaf.ndim > 2:
            height = leaf.shape[-3] if "epthwise" in str(path) else leaf.shape[-4]
            assert height == 1, path
    genotype = sample_genotype(space, np.random.default_rng(0))
    auxiliary = name == "darts_1d"
    net = Network(genotype, space.macro, 3, cells, 16, auxiliary=auxiliary)
    cost = network_cost(net, (1, 32, 2))
    signals = jax.ShapeDtypeStruct((1, 1, 32, 2), jnp.float32)
    made = jax.eval_shape(
        lambda key, x: net.init({"params": key, "drop_path": key}, x, 0.0, False),
        key,
        signals,
    )
    assert cost.parameters == sum(leaf.size for leaf in jax.tree.leaves(made["params"]))


def test_a_convolution_of_a_signal_costs_what_it_multiplies():
    from darts_jax.cost.networks import operation_cost
    from darts_jax.cost.sites import Site

    length, c = 32, 8
    for name, by_step, kernel in (
        ("sep_conv_3", 2 * (3 * c + c * c), 2 * (3 * c + c * c)),
        ("dil_conv_5", 5 * c + c * c, 5 * c + c * c),
        ("nor_conv_3", 3 * c * c, 3 * c * c),
    ):
        cost = operation_cost(Site(name, c, c, 1, 1, length))
        norms = 2 * c * (2 if name == "sep_conv_3" else 1)
        assert cost.macs == length * by_step
        assert cost.parameters == kernel + norms


@pytest.mark.slow
def test_every_walk_over_the_edges_gives_the_same():
    space = get_space("darts_1d")
    key = jax.random.key(0)
    rng = np.random.default_rng(0)
    mixture = Mixture(
        {
            kind: jnp.asarray(rng.uniform(size=cell.shape), jnp.float32)
            for kind, cell in space.cells.items()
        }
    )
    signals = jnp.asarray(rng.normal(size=(4, 1, 18, 2)), jnp.float32)
    results = []
    for execution in ("scan", "batch", "joined"):
        net = Supernet(space, 3, 2, 4, execution=execution)
        params, stats = initialize_supernet(net, key, (1, 18, 2))

        def loss(params, net=net, stats=stats):
            apply = supernet_apply(net)
            logits, _ = apply(params, stats, mixture, signals, key, train=True)
            return jnp.sum(jnp.sin(logits))

        results.append(jax.jit(jax.value_and_grad(loss))(params))
    for other in results[1:]:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4),
            results[0],
            other,
        )
