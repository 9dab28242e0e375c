"""The loop of one's own: on a mesh, and the same bits after it was stopped."""

import pytest

from tests.support.paths import ROOT
from tests.support.processes import launch

TWICE = """
import sys

sys.path.insert(0, sys.argv[2])
import jax
import numpy as np
import own_loop

assert len(jax.devices()) == 2
whole = own_loop.run(f"{sys.argv[1]}/whole", 6)
own_loop.run(f"{sys.argv[1]}/stopped", 3)
on = own_loop.run(f"{sys.argv[1]}/stopped", 6)
assert all(len(leaf.sharding.device_set) == 2 for leaf in jax.tree.leaves(on))
jax.tree.map(np.testing.assert_array_equal, on, whole)
again = own_loop.run(f"{sys.argv[1]}/stopped", 6)
jax.tree.map(np.testing.assert_array_equal, again, whole)
assert float(abs(whole.alpha["width"]).max()) > 1e-4

# A mesh of one device computes the same, but for the order of sums.
both = jax.devices()
own_loop.jax.devices = lambda: both[:1]
alone = own_loop.run(f"{sys.argv[1]}/alone", 6)
for mine, theirs in zip(*map(jax.tree.leaves, (alone.alpha, whole.alpha))):
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
"""


@pytest.mark.slow  # A process of its own, in which four searches are compiled.
def test_a_stopped_loop_goes_on_with_the_same_bits(tmp_path):
    process = launch(2, "-c", TWICE, tmp_path, ROOT / "examples")
    told = process.communicate()[0]
    assert process.returncode == 0, told[-2000:]
    assert told.count("width = ") == 5
