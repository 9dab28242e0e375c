"""A grid's events, and the ablation of README at the smallest size."""

import contextlib

import darts_jax
from darts_jax.cluster import Engine
from darts_jax.cluster.engine import Outcome, attempt
from darts_jax.errors import InputError

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


class Worker(Engine):
    """Engine whose one worker is this process, which is told all in a task's text.

    Tasks run in the order that is the worst for a caller who counts on theirs.
    """

    def run(self, work, tasks, report):
        outcomes = {}
        for task in tasks[::-1]:
            report.start(task.name)
            failure = attempt(work, task.text)
            if failure:
                report.fail(task.name, failure)
            else:
                report.finish(task.name)
            error = InputError(failure) if failure else None
            outcomes[task.name] = Outcome(error, seconds=1.5)
        return outcomes
