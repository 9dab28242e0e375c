"""Modules of the field's PyTorch code, by its names, and checks beside them.

Written from the papers: operations, cells' preprocessing and DARTS's `Network`. A test
file that needs them begins with ``pytest.importorskip("torch")``.
"""

import dataclasses

import jax
import numpy as np
import torch

from darts_jax import interop
from darts_jax.bilevel.relaxation import relax, softmax
from darts_jax.models.functional import network_apply, supernet_apply
from darts_jax.spaces.darts import MACRO
from tests.support.tiny import quick_jit

nn = torch.nn
torch.set_num_threads(1)  # idle threads of small convolutions wait by spinning

KEY = jax.random.key(0)
CLASSES = 7
# Cells that never reduce: equal ones follow each other and are stacked.
ALIKE = dataclasses.replace(MACRO, layout=lambda cells: ("normal",) * cells)


def conv(c_in, c_out, kernel, stride=1, dilation=1, groups=1, bias=False):
    """A convolution with "same" padding; kernel and stride by side or by (h, w)."""
    pair = (kernel, kernel) if isinstance(kernel, int) else kernel
    pad = tuple(dilation * (k // 2) for k in pair)
    return nn.Conv2d(c_in, c_out, pair, stride, pad, dilation, groups, bias)


class Op(nn.Module):
    """Layers under the name ``op``."""

    def __init__(self, *layers):
        super().__init__()
        self.op = nn.Sequential(*layers)

    def forward(self, x):
        return self.op(x)


class Zero(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    def __init__(self, c_in, c_out, affine):
        super().__init__()
        self.conv_1 = conv(c_in, c_out // 2, 1, 2)
        self.conv_2 = conv(c_in, c_out // 2, 1, 2)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x):
        x = torch.relu(x)
        halves = [self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])]
        return self.bn(torch.cat(halves, 1))


def dense(c_in, c_out, kernel, stride, affine, bias=False):
    layer = conv(c_in, c_out, kernel, stride, bias=bias)
    return Op(nn.ReLU(), layer, nn.BatchNorm2d(c_out, affine=affine))


def depthwise(c, kernel, stride, affine, dilation=1):
    first = conv(c, c, kernel, stride, dilation, groups=c)
    return nn.ReLU(), first, conv(c, c, 1), nn.BatchNorm2d(c, affine=affine)


def crossed(c, k, stride, affine):
    row = conv(c, c, (1, k), (1, stride))
    column = conv(c, c, (k, 1), (stride, 1))
    return nn.Sequential(nn.ReLU(), row, column, nn.BatchNorm2d(c, affine=affine))


def operation(name, c, stride, affine, biased=False):
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return FactorizedReduce(c, c, affine) if stride > 1 else nn.Identity()
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, 1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    kernel = int(name[-1])
    if name.startswith("sep_conv"):
        halves = (depthwise(c, kernel, s, affine) for s in (stride, 1))
        return Op(*(layer for half in halves for layer in half))
    if name.startswith("dil_conv"):
        return Op(*depthwise(c, kernel, stride, affine, dilation=2))
    if name.startswith("nor_conv"):
        return dense(c, c, kernel, stride, affine, biased)
    return crossed(c, kernel, stride, affine)


def preprocesses(widths, c, after, affine):
    if after:
        earlier = FactorizedReduce(widths[0], c, affine)
    else:
        earlier = dense(widths[0], c, 1, 1, affine)
    return earlier, dense(widths[1], c, 1, 1, affine)


class Darts(nn.Module):
    """DARTS's networks.

    Args:
      make: (widths, channels, reduces, after a reduction) -> a cell.
      multiplier: how many states a cell concatenates.
      thirds: whether the cells at one and two thirds of the depth reduce, or none.
      stem: channels of the stem, by default those of DARTS's networks.
    """

    def __init__(
        self, make, multiplier, cells, c, imagenet=False, thirds=True, stem=None
    ):
        super().__init__()
        s = stem or (c if imagenet else 3 * c)
        if imagenet:
            half = [conv(3, s // 2, 3, 2), nn.BatchNorm2d(s // 2), nn.ReLU()]
            quarter = [conv(s // 2, s, 3, 2), nn.BatchNorm2d(s)]
            self.stem0 = nn.Sequential(*half, *quarter)
            eighth = [nn.ReLU(), conv(s, s, 3, 2), nn.BatchNorm2d(s)]
            self.stem1 = nn.Sequential(*eighth)
        else:
            self.stem = nn.Sequential(conv(3, s, 3), nn.BatchNorm2d(s))
        widths = (s, s)
        after, self.cells = imagenet, nn.ModuleList()
        self.imagenet, self.reduces = imagenet, []
        for i in range(cells):
            reduces = thirds and i in (cells // 3, 2 * cells // 3)
            c = 2 * c if reduces else c
            self.cells.append(make(widths, c, reduces, after))
            widths, after = (widths[1], multiplier * c), reduces
            self.reduces.append(reduces)
            if i == 2 * cells // 3:
                self.auxiliary_width = widths[1]
        self.classifier = nn.Linear(widths[1], CLASSES)

    def forward(self, x, normal=None, reduce=None):
        first = self.stem0(x) if self.imagenet else self.stem(x)
        states = (first, self.stem1(first)) if self.imagenet else (first, first)
        for cell, reduces in zip(self.cells, self.reduces, strict=True):
            mixture = [m for m in ([normal, reduce][reduces],) if m is not None]
            states = states[1], cell(*states, *mixture)
        return self.classifier(states[1].mean((2, 3)))


def randomize(module, seed):
    """Random numbers for every array, of scales that keep signals alive."""
    random = torch.Generator().manual_seed(seed)
    for name, array in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(array.shape, generator=random)
        if name.endswith("running_var") or (array.ndim == 1 and "weight" in name):
            array.copy_(1 + noise.abs() / 2)
        else:
            fan_in = array[0].numel() if array.ndim > 1 else 1
            array.copy_(noise * (2 / fan_in) ** 0.5)
    return module.eval()


def images_of(size, seed=9):
    random = np.random.default_rng(seed)
    return random.normal(size=(3, size, size, 3)).astype(np.float32)


def torch_logits(module, images, *mixture):
    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        return module(x, *(torch.from_numpy(np.array(m)) for m in mixture)).numpy()


def assert_equal_logits(ours, theirs):
    scale = np.abs(theirs).max()
    assert theirs.std(0).min() > 1e-3 * scale  # images matter
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * scale)


def check_network(net, module, size):
    """Equal logits; exported, PyTorch takes all of it back."""
    state = module.state_dict()
    params, stats = interop.import_weights(net, state)
    images = images_of(size)
    apply = quick_jit(network_apply(net), static_argnames="train")
    logits, _ = apply(params, stats, images, np.zeros(()), KEY, train=False)
    assert_equal_logits(np.asarray(logits.main), torch_logits(module, images))
    check_export(net, params, stats, module)
    return params, stats


def check_export(net, params, stats, module):
    before = {k: v.clone() for k, v in module.state_dict().items()}
    exported = interop.export_weights(net, params, stats)
    tensors = {name: torch.from_numpy(array) for name, array in exported.items()}
    tensors |= {k: v for k, v in before.items() if k == "arch_parameters"}
    randomize(module, 77).load_state_dict(tensors, strict=True)
    after = module.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if "num_" not in k)


def check_supernet(net, module, size, arrays, **relaxing):
    """Equal logits for the mixture that published architecture parameters give.

    The module has the shares of edges from elsewhere.
    """
    alpha = interop.import_alpha(net, arrays)
    mask = {kind: np.array(cell.mask) for kind, cell in net.space.cells.items()}
    mixture = relax(softmax, KEY, alpha, mask, **relaxing)
    without = relax(softmax, KEY, {kind: alpha[kind] for kind in mask}, mask)
    kinds = [without.weights[kind] for kind in net.space.cells]
    tensors = [torch.from_numpy(np.array(m)) for m in kinds]
    train_statistics(randomize(module, 1), size, *tensors)
    params, stats = interop.import_weights(net, module.state_dict())
    images = images_of(size)
    apply = quick_jit(supernet_apply(net), static_argnames="train")
    logits, _ = apply(params, stats, mixture, images, KEY, train=False)
    assert_equal_logits(np.asarray(logits), torch_logits(module, images, *kinds))
    check_export(net, params, stats, module)


def train_statistics(module, size, *mixture):
    """Statistics as training leaves them: of pools alike on all edges of a state."""
    module.train()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = 0.5
    for seed in range(2):
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            module(torch.randn(4, 3, size, size, generator=random), *mixture)
    return module.eval()
