"""DARTS search (Liu et al., 2019) in plain PyTorch, a module per edge and operation."""

import functools
import operator
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
ALPHA_RATE, ALPHA_BETAS, ALPHA_DECAY = 3e-4, (0.5, 0.999), 1e-3
CLASSES, RADIUS = 10, 0.01

plain_bn = functools.partial(nn.BatchNorm2d, affine=False)
average = functools.partial(nn.AvgPool2d, 3, padding=1, count_include_pad=False)

Tensors = Sequence[Tensor]
Batch = tuple[Tensor, Tensor]


def total(tensors: Iterable[Tensor]) -> Tensor:
    """The sum, without the addition to 0 that `sum` begins with."""
    return functools.reduce(operator.add, tensors)


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)


def relu_conv_bn(
    c_in: int, c_out: int, kernel: int = 1, stride: int = 1, affine: bool = False
) -> nn.Module:
    norm = nn.BatchNorm2d(c_out, affine=affine)
    return nn.Sequential(nn.ReLU(), conv(c_in, c_out, kernel, stride), norm)


def separable(c: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    """ReLU, depthwise convolution, pointwise convolution, BN."""
    pad = dilation * (kernel // 2)
    depthwise = nn.Conv2d(c, c, kernel, stride, pad, dilation, groups=c, bias=False)
    return nn.Sequential(nn.ReLU(), depthwise, conv(c, c, 1), plain_bn(c))


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    """Halves the image by two strided 1x1 convolutions, one of them shifted."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.even = conv(c_in, c_out // 2, 1, stride=2)
        self.odd = conv(c_in, c_out - c_out // 2, 1, stride=2)
        self.norm = plain_bn(c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))


Operations = dict[str, Callable[[int, int], nn.Module]]

# Channels and stride -> the operation as it is in the supernet.
DARTS: Operations = {
    "none": lambda c, s: Zero(s),
    "max_pool_3x3": lambda c, s: nn.Sequential(nn.MaxPool2d(3, s, 1), plain_bn(c)),
    "avg_pool_3x3": lambda c, s: nn.Sequential(average(s), plain_bn(c)),
    "skip_connect": lambda c, s: FactorizedReduce(c, c) if s > 1 else nn.Identity(),
    "sep_conv_3x3": lambda c, s: nn.Sequential(separable(c, 3, s), separable(c, 3)),
    "sep_conv_5x5": lambda c, s: nn.Sequential(separable(c, 5, s), separable(c, 5)),
    "dil_conv_3x3": lambda c, s: separable(c, 3, s, dilation=2),
    "dil_conv_5x5": lambda c, s: separable(c, 5, s, dilation=2),
}
NASBENCH201: Operations = {
    "none": lambda c, s: Zero(s),
    "skip_connect": lambda c, s: nn.Identity(),
    "nor_conv_1x1": lambda c, s: relu_conv_bn(c, c, 1, s),
    "nor_conv_3x3": lambda c, s: relu_conv_bn(c, c, 3, s),
    "avg_pool_3x3": lambda c, s: average(s),
}


class MixedOp(nn.Module):
    """Edge: the weighted sum of all operations."""

    def __init__(self, operations: Operations, c: int, stride: int) -> None:
        super().__init__()
        self.ops = nn.ModuleList(make(c, stride) for make in operations.values())

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return total(w * op(x) for w, op in zip(weights, self.ops, strict=True))


def run_nodes(states: Tensors, edges: nn.ModuleList, weights: Tensor) -> Tensors:
    """The states and the nodes, each of which sums an edge from every one before."""
    first = 0
    while first < len(edges):
        node = total(edges[i](x, weights[i]) for i, x in enumerate(states, first))
        first += len(states)
        states = [*states, node]
    return states


class DartsCell(nn.Module):
    """Two preprocessed inputs and four nodes, which are concatenated."""

    def __init__(
        self, c_earlier: int, c_last: int, c: int, reduces: bool, after_reduction: bool
    ) -> None:
        super().__init__()
        project = FactorizedReduce if after_reduction else relu_conv_bn
        self.earlier = project(c_earlier, c)
        self.last = relu_conv_bn(c_last, c)
        self.edges = nn.ModuleList()
        for node in range(4):
            for source in range(2 + node):
                stride = 2 if reduces and source < 2 else 1
                self.edges.append(MixedOp(DARTS, c, stride))

    def forward(self, earlier: Tensor, last: Tensor, weights: Tensor) -> Tensor:
        states = [self.earlier(earlier), self.last(last)]
        return torch.cat([*run_nodes(states, self.edges, weights)[2:]], dim=1)


class DartsNet(nn.Module):
    """`cells` cells, of which those at one and two thirds reduce."""

    alpha_shapes = ((14, 8), (14, 8))

    def __init__(self, cells: int, channels: int) -> None:
        super().__init__()
        c_earlier = c_last = 3 * channels
        self.stem = nn.Sequential(conv(3, c_last, 3), nn.BatchNorm2d(c_last))
        self.reduces = [i in (cells // 3, 2 * cells // 3) for i in range(cells)]
        self.cells = nn.ModuleList()
        after_reduction = False
        for reduces in self.reduces:
            channels = 2 * channels if reduces else channels
            cell = DartsCell(c_earlier, c_last, channels, reduces, after_reduction)
            self.cells.append(cell)
            c_earlier, c_last, after_reduction = c_last, 4 * channels, reduces
        self.classifier = nn.Linear(c_last, CLASSES)

    def forward(self, images: Tensor, normal: Tensor, reduce: Tensor) -> Tensor:
        earlier = last = self.stem(images)
        for cell, reduces in zip(self.cells, self.reduces, strict=True):
            earlier, last = last, cell(earlier, last, reduce if reduces else normal)
        return self.classifier(last.mean((2, 3)))


class Residual(nn.Module):
    """Doubles the channels and halves the image."""

    def __init__(self, c: int) -> None:
        super().__init__()
        first = relu_conv_bn(c, 2 * c, 3, stride=2, affine=True)
        self.body = nn.Sequential(first, relu_conv_bn(2 * c, 2 * c, 3, affine=True))
        self.project = nn.Sequential(nn.AvgPool2d(2), conv(c, 2 * c, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.project(x)


class NasBench201Net(nn.Module):
    """Three stages of `cells` cells, each a list of edges; residuals between."""

    alpha_shapes = ((6, 5),)

    def __init__(self, cells: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, channels, 3), nn.BatchNorm2d(channels))
        self.blocks = nn.ModuleList()
        for stage in range(3):
            if stage > 0:
                self.blocks.append(Residual(channels))
                channels *= 2
            for _ in range(cells):
                edges = [MixedOp(NASBENCH201, channels, stride=1) for _ in range(6)]
                self.blocks.append(nn.ModuleList(edges))
        self.head = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor, normal: Tensor) -> Tensor:
        x = self.stem(images)
        for block in self.blocks:
            if isinstance(block, nn.ModuleList):
                x = run_nodes([x], block, normal)[-1]
            else:
                x = block(x)
        return self.classifier(self.head(x).mean((2, 3)))


Net = DartsNet | NasBench201Net
NETS: dict[str, type[Net]] = {"darts": DartsNet, "nasbench201": NasBench201Net}


class TorchSearch:
    """A supernet, its alphas, both optimizers, and a fixed batch of either half.

    `cells` counts those of the network; in NAS-Bench-201, those of each stage.
    `numbers` are those that are multiplied on a GPU, "float32" or "tf32"; None:
    PyTorch's default, TF32 in convolutions alone. "bfloat16" is autocast, anywhere. A
    `compiled` network goes through `torch.compile`.
    """

    def __init__(
        self,
        space: str,
        cells: int,
        channels: int,
        batch: int,
        size: int = 32,
        channels_last: bool = False,
        seed: int = 0,
        numbers: str | None = None,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        if numbers is not None:
            torch.backends.cudnn.allow_tf32 = numbers != "float32"
            high = "highest" if numbers == "float32" else "high"
            torch.set_float32_matmul_precision(high)
        # As the published searches do: cuDNN tries its algorithms.
        torch.backends.cudnn.benchmark = True
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        net = NETS[space]
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = net(cells, channels)
        self.model.to(memory_format=layout)  # type: ignore[call-overload]
        self.model.to(device)
        self.weights = list(self.model.parameters())
        alphas = (1e-3 * torch.randn(s) for s in net.alpha_shapes)
        self.alphas = [nn.Parameter(alpha.to(device)) for alpha in alphas]
        self.sgd = torch.optim.SGD(self.weights, RATE, MOMENTUM, weight_decay=DECAY)
        self.adam = torch.optim.Adam(
            self.alphas, ALPHA_RATE, ALPHA_BETAS, weight_decay=ALPHA_DECAY
        )
        images = torch.randn(2, batch, 3, size, size)
        labels = torch.arange(batch) % CLASSES
        self.train, self.valid = (
            (x.to(device, memory_format=layout), labels.to(device)) for x in images
        )
        self.cast = torch.autocast(
            device.type, torch.bfloat16, enabled=numbers == "bfloat16"
        )
        self.forward = torch.compile(self.model) if compiled else self.model

    def parameters(self) -> int:
        """Counts the weights, without alphas."""
        return sum(w.numel() for w in self.weights)

    def step(self, hypergradient: str) -> float:
        """Steps the alphas, by the method of that name, then the weights; the loss."""
        gradients = getattr(self, hypergradient)()
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient
        self.adam.step()
        self.sgd.zero_grad()
        loss = self.loss(self.train)
        loss.backward(inputs=self.weights)
        nn.utils.clip_grad_norm_(self.weights, CLIP)
        self.sgd.step()
        return loss.item()

    def loss(self, batch: Batch) -> Tensor:
        images, labels = batch
        weights = [alpha.softmax(-1) for alpha in self.alphas]
        with self.cast:
            return F.cross_entropy(self.forward(images, *weights), labels)

    def gradient(self, batch: Batch, inputs: Tensors) -> Tensors:
        # Two DARTS cells both reduce: the normal alphas get zeros.
        loss = self.loss(batch)
        return torch.autograd.grad(loss, inputs, materialize_grads=True)

    def first_order(self) -> Tensors:
        """The validation gradient at the present weights."""
        return self.gradient(self.valid, self.alphas)

    def finite_difference(self) -> Tensors:
        """The validation gradient through one step of SGD, as published."""
        start = [w.detach().clone() for w in self.weights]
        self.set_weights(start, self.unrolled_direction(), -RATE)
        both = self.gradient(self.valid, [*self.weights, *self.alphas])
        vector, direct = both[: len(start)], both[len(start) :]
        epsilon = RADIUS / nn.utils.get_total_norm(vector)
        self.set_weights(start, vector, epsilon)
        ahead = self.gradient(self.train, self.alphas)
        self.set_weights(start, vector, -epsilon)
        behind = self.gradient(self.train, self.alphas)
        self.set_weights(start, vector, 0.0)
        scale = RATE / (2 * epsilon)
        differences = zip(direct, ahead, behind, strict=True)
        return [d - scale * (a - b) for d, a, b in differences]

    def unrolled_direction(self) -> Tensors:
        """Returns what SGD subtracts over its rate: momentum and decay, no clipping."""
        direction = self.gradient(self.train, self.weights)
        for d, w in zip(direction, self.weights, strict=True):
            d.add_(w.detach(), alpha=DECAY)
            buffer = self.sgd.state[w].get("momentum_buffer")
            if buffer is not None:
                d.add_(buffer, alpha=MOMENTUM)
        return direction

    @torch.no_grad()
    def set_weights(self, start: Tensors, step: Tensors, scale: float | Tensor) -> None:
        for w, origin, d in zip(self.weights, start, step, strict=True):
            w.copy_(origin + scale * d)


if __name__ == "__main__":
    assert TorchSearch("darts", 8, 16, 1).parameters() == 1_930_618
