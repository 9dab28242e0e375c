"""A grid's events, and the ablation of README at the smallest size."""

import contextlib

import darts_jax

GRID = {
    "search.hypergradient": ["first_order", "exact"],
    "search.relaxation": ["softmax", "gumbel_softmax"],
}
"""Setting -> values: README's sixteen searches with seeds 0 to 3, four programs."""


def small_config():
    config = darts_jax.load_config("digits_nasbench201")
    config.data.images = 128
    config.supernet.channels = 2
    config.search.epochs = 2
    return config


def timeless(frame):
    """A table without what a clock has measured."""
    timed = ["compile_seconds", "images_per_second"]
    return frame.drop(columns=timed, errors="ignore")


class Listener:
    """Report that keeps every event, as (kind, name, words)."""

    def __init__(self):
        self.events = []

    def start(self, *names):
        self.events += [("start", name, "") for name in names]

    def note(self, text, *names):
        self.events += [("note", name, text) for name in names]

    def finish(self, *names, was_found=False):
        self.events += [("finish", name, "found" * was_found) for name in names]

    def fail(self, name, reason):
        self.events.append(("fail", name, reason))

    @contextlib.contextmanager
    def run(self, *names):
        self.start(*names)
        yield
        self.finish(*names)

    def kinds(self, name):
        return [kind for kind, of, _ in self.events if of == name]
