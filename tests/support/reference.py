"""Independent, slow spelling of everything, by definition, in NumPy loops.

Written from the formulas, sharing no code with the package: convolution by loops over
output pixels and taps, BN by moments, pooling by windows, optimizers by their update
rules. Gradients of it are central differences.
"""

import numpy as np

EPS = 1e-5


def conv(x, kernel, stride=1, dilation=1, padding=0):
    """x [n, h, w, c], kernel [kh, kw, c, o]: cross-correlation with zero padding."""
    n, h, w, _ = x.shape
    kh, kw, _, o = kernel.shape
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, oh, ow, o))
    for i in range(oh):
        for j in range(ow):
            for a in range(kh):
                for b in range(kw):
                    r = i * stride + a * dilation - padding
                    c = j * stride + b * dilation - padding
                    if 0 <= r < h and 0 <= c < w:
                        y[:, i, j] += x[:, r, c] @ kernel[a, b]
    return y


def depthwise(x, kernel, stride=1, dilation=1):
    kh, _, channels = kernel.shape
    padding = dilation * (kh // 2)
    return np.concatenate(
        [
            conv(
                x[..., c : c + 1],
                kernel[:, :, c, None, None],
                stride,
                dilation,
                padding,
            )
            for c in range(channels)
        ],
        axis=-1,
    )


def bn(x, scale=1.0, bias=0.0):
    mean = x.mean((0, 1, 2))
    var = ((x - mean) ** 2).mean((0, 1, 2))
    return (x - mean) / np.sqrt(var + EPS) * scale + bias


def pool(x, reduce, stride):
    n, h, w, c = x.shape
    oh, ow = -(-h // stride), -(-w // stride)
    y = np.zeros((n, oh, ow, c))
    for i in range(oh):
        for j in range(ow):
            rows = slice(max(i * stride - 1, 0), i * stride + 2)
            columns = slice(max(j * stride - 1, 0), j * stride + 2)
            y[:, i, j] = reduce(x[:, rows, columns], (1, 2))
    return y


def relu(x):
    return np.maximum(x, 0)


def factorized_reduce(x, p):
    x = relu(x)
    first = x[:, ::2, ::2] @ p["Conv_0"]["kernel"][0, 0]
    second = x[:, 1::2, 1::2] @ p["Conv_1"]["kernel"][0, 0]
    return bn(np.concatenate([first, second], -1))


def sep_conv(x, p, stride):
    for i, s in enumerate((stride, 1)):
        x = depthwise(relu(x), p[f"DepthwiseConv_{i}"]["kernel"], s)
        x = bn(x @ p[f"Conv_{i}"]["kernel"][0, 0])
    return x


def dil_conv(x, p, stride):
    x = depthwise(relu(x), p["DepthwiseConv_0"]["kernel"], stride, dilation=2)
    return bn(x @ p["Conv_0"]["kernel"][0, 0])


def operation(name, x, p, stride):
    """Computes an operation of the supernet (BN without scale and bias)."""
    if name == "none":
        return np.zeros_like(x[:, ::stride, ::stride])
    if name == "skip_connect":
        return x if stride == 1 else factorized_reduce(x, p)
    if name == "max_pool_3x3":
        return bn(pool(x, np.max, stride))
    if name == "avg_pool_3x3":
        return bn(pool(x, np.mean, stride))
    return (sep_conv if name.startswith("sep") else dil_conv)(x, p, stride)


OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


def cell(earlier, last, p, mixture, reduces, after_reduction):
    """A DARTS cell of the supernet; mixture rows in the order (target, source)."""
    pre = p["Preprocess_0"]
    if after_reduction:
        s0 = factorized_reduce(earlier, pre["earlier"])
    else:
        s0 = bn(relu(earlier) @ pre["earlier"]["Conv_0"]["kernel"][0, 0])
    s1 = bn(relu(last) @ pre["last"]["Conv_0"]["kernel"][0, 0])
    states = [s0, s1]
    rows = [(s, t) for t in range(2, 6) for s in range(t)]
    strided = [pair for pair in sorted(rows) if reduces and pair[0] < 2]
    plain = [pair for pair in sorted(rows) if pair not in strided]
    for target in range(2, 6):
        total = 0.0
        for source in range(target):
            pair = (source, target)
            stride = 2 if pair in strided else 1
            place = (strided if stride == 2 else plain).index(pair)
            for o, name in enumerate(OPERATIONS):
                stack = p["edges"].get(name if stride == 1 else f"{name}_stride2", {})
                own = _slice(stack, place)
                weight = mixture[rows.index(pair)][o]
                total = total + weight * operation(name, states[source], own, stride)
        states.append(total)
    return np.concatenate(states[2:], -1)


def _slice(tree, index):
    return {
        k: _slice(v, index) if isinstance(v, dict) else v[index]
        for k, v in tree.items()
    }


def supernet(params, mixture, images, cells):
    """Logits of a DARTS supernet, no two neighbours of which are alike."""
    p = params["stem"]
    x = conv(images, p["Conv_0"]["kernel"], padding=1)
    x = bn(x, p["BatchNorm_0"]["scale"], p["BatchNorm_0"]["bias"])
    states, after = (x, x), False
    for i in range(cells):
        reduces = i in (cells // 3, 2 * cells // 3)
        own = _slice(params[f"blocks_{i}_{i}"], 0)
        weights = mixture["reduce" if reduces else "normal"]
        states = (states[1], cell(*states, own, weights, reduces, after))
        after = reduces
    head = params["head"]["Linear_0"]
    return states[1].mean((1, 2)) @ head["kernel"] + head["bias"]


def cross_entropy(logits, labels):
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def slow_overlap(a, b):
    """Returns intersection over union and GIoU of two boxes, in plain Python."""
    a, b = [float(x) for x in a], [float(x) for x in b]
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    common = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return common / union, common / union - (hull - union) / hull


def unigram_perplexity(corpus):
    """Computes the perplexity of the test text by frequencies of the training text.

    Each word is counted once more. A network that is better has learned of order.
    """
    size = len(corpus.vocabulary)
    counts = np.bincount(corpus.train, minlength=size) + 1
    log_p = np.log(counts / counts.sum())
    return float(np.exp(-log_p[corpus.test].mean()))
