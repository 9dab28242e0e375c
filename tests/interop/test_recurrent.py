"""Weights of the published recurrent networks, by name, there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax import get_genotype, interop
from darts_jax.errors import InputError
from darts_jax.models.functional import initialize, network_apply
from darts_jax.models.language import Dropouts
from darts_jax.models.recurrent import RecurrentNetwork
from darts_jax.types import Text

WORDS, UNITS, BATCH, TIME = 13, 6, 2, 5


def network(name="DARTS_V2_recurrent"):
    (cell,) = get_genotype(name).cells.values()
    return RecurrentNetwork(cell, WORDS, UNITS, Dropouts())


def arrays(net, seed=0):
    rng = np.random.default_rng(seed)
    made = {
        row.name: rng.uniform(-0.5, 0.5, row.shape).astype(np.float32)
        for row in interop.published_rows(net)
    }
    return made | {"decoder.weight": made["encoder.weight"]}


def test_names_and_shapes_are_those_of_the_released_code():
    shapes = {row.name: row.shape for row in interop.published_rows(network())}
    assert shapes == {
        "encoder.weight": (WORDS, UNITS),
        "decoder.weight": (WORDS, UNITS),
        "decoder.bias": (WORDS,),
        "rnns.0._W0": (2 * UNITS, 2 * UNITS),
        **{f"rnns.0._Ws.{i}": (UNITS, 2 * UNITS) for i in range(8)},
    }


@pytest.mark.parametrize("name", ["DARTS_V1_recurrent", "ENAS_recurrent"])
def test_there_and_back_no_number_is_lost(name):
    net = network(name)
    given = arrays(net)
    again = interop.export_weights(net, *interop.import_weights(net, given))
    assert given.keys() == again.keys()
    for key, array in given.items():
        np.testing.assert_array_equal(again[key], array)


def test_a_trained_network_is_exported_whatever_texts_it_has_read():
    net = network()
    params, _ = interop.import_weights(net, arrays(net))
    tokens = jnp.zeros((7, 3), jnp.int32)
    text = Text(tokens, tokens, tokens == 0, tokens[:, 0] == 0, tokens[:, 0])
    _, stats = initialize(net, jax.random.key(0), text, jnp.zeros(()))
    assert interop.export_weights(net, params, stats).keys() == arrays(net).keys()


def test_embeddings_that_are_not_tied_and_what_lacks_get_one_line():
    net = network()
    given = arrays(net)
    with pytest.raises(InputError, match="unlike another"):
        interop.import_weights(
            net, given | {"decoder.weight": given["encoder.weight"] + 1}
        )
    del given["rnns.0._Ws.3"]
    with pytest.raises(InputError, match=r"1 missing \(rnns\.0\._Ws\.3\)"):
        interop.import_weights(net, given)


def losses_of_torch(torch, net, given, tokens, targets):
    """The released cell in PyTorch: a layer, tied embeddings, no dropout."""
    tensors = {name: torch.tensor(array) for name, array in given.items()}
    encoder = torch.nn.Embedding.from_pretrained(tensors["encoder.weight"])
    functions = {
        "tanh": torch.tanh,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "identity": lambda x: x,
    }
    embedded = encoder(torch.tensor(tokens)).transpose(0, 1)
    hidden = torch.zeros(BATCH, UNITS)
    found = []
    for word in embedded:
        gate, new = (torch.cat([word, hidden], -1) @ tensors["rnns.0._W0"]).chunk(2, -1)
        states = [hidden + torch.sigmoid(gate) * (torch.tanh(new) - hidden)]
        for i, choice in enumerate(sorted(net.genotype.choices)):
            last = states[choice.source]
            gate, new = (last @ tensors[f"rnns.0._Ws.{i}"]).chunk(2, -1)
            made = functions[choice.operation](new)
            states.append(last + torch.sigmoid(gate) * (made - last))
        hidden = torch.stack([states[i] for i in net.genotype.output]).mean(0)
        logits = hidden @ tensors["decoder.weight"].T + tensors["decoder.bias"]
        found.append(logits)
    logits = torch.stack(found, 1).reshape(-1, WORDS)
    losses = torch.nn.functional.cross_entropy(
        logits, torch.tensor(targets).reshape(-1).long(), reduction="none"
    )
    return losses.reshape(BATCH, TIME).numpy()


def test_an_imported_network_gives_the_losses_of_the_original():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = network()
    given = arrays(net, 1)
    rng = np.random.default_rng(2)
    tokens, targets = rng.integers(0, WORDS, (2, BATCH, TIME)).astype(np.int32)
    expected = losses_of_torch(torch, net, given, tokens, targets)
    params, _ = interop.import_weights(net, given)
    here = np.ones((BATCH, TIME), bool)
    text = Text(tokens, targets, here, here[:, 0], np.zeros(BATCH, np.int32))
    _, stats = initialize(net, jax.random.key(0), text, jnp.zeros(()))
    apply = network_apply(net)
    reading, _ = apply(
        params, stats, text, jnp.zeros(()), jax.random.key(0), train=False
    )
    np.testing.assert_allclose(reading.losses, expected, atol=1e-5)
