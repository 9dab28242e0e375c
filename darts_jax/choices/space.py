"""The space of a user's network: its choices in order, and its pure functions."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, PRNGKeyArray

from darts_jax.choices.adapters import (
    DecidedFunction,
    Functions,
    adapt,
    explore,
)
from darts_jax.choices.decisions import explored, mixed
from darts_jax.choices.discrete import (
    DiscreteNetwork,
    require_equal,
    take_variables,
)
from darts_jax.errors import InputError, first_line
from darts_jax.models.functional import Initialized
from darts_jax.spaces import SPACES
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.modules import (
    ChoiceSpace,
    Decision,
    choices_of,
    genotype_of,
    module_space,
)
from darts_jax.types import Alpha, Inputs, Mixture, Outputs, Params, Stats

Network = TypeVar("Network")


@dataclasses.dataclass(frozen=True, eq=False)
class ModuleSpace:
    """A user's network as a space: what it leaves open, and how it is computed.

    Attributes:
      module: the user's network.
      space: a kind for each choice, of one edge whose operations are the options.
      example: what the network takes, or its shapes.
      parts: while choices are open, 1/parts of the channels enter their options.
    """

    module: object
    space: ChoiceSpace
    example: Inputs
    parts: int = 1

    @property
    def name(self) -> str:
        return self.space.name

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The choices, in the order in which the network asks for them."""
        return self.space.decisions

    @property
    def mask(self) -> dict[str, Bool[np.ndarray, "1 option"]]:
        """True where there is an option: choice -> bool [1, option]."""
        return {d.name: np.ones((1, len(d.options)), bool) for d in self.decisions}

    def alpha(self) -> Alpha:
        """Returns architecture parameters by which all options weigh alike."""
        return {d.name: jnp.zeros((1, len(d.options))) for d in self.decisions}

    def init(self, key: PRNGKeyArray) -> Initialized:
        """Returns parameters and statistics of the network with all of its options.

        Args:
          key: consumed. An NNX module that is made already keeps its own.
        """
        adapter = adapt(self.module)

        def make(key: PRNGKeyArray, inputs: Inputs) -> Initialized:
            with explored(self.parts):
                return adapter.init(key, inputs)

        return Initialized(*jax.jit(make)(key, self.arrays()))

    def arrays(self) -> Inputs:
        """Returns the example; zeros where shapes alone are known."""
        return jax.tree.map(
            lambda x: (
                jnp.zeros(x.shape, x.dtype)
                if isinstance(x, jax.ShapeDtypeStruct)
                else jnp.asarray(x)
            ),
            self.example,
        )

    def apply(
        self,
        params: Params,
        stats: Stats,
        mixture: Mixture,
        inputs: Inputs,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Outputs, Stats]:
        """Returns outputs and new statistics, as a `types.SupernetApply`.

        Args:
          params: weights of the network with all of its options.
          stats: running statistics.
          mixture: weight of every option in the outputs.
          inputs: part of a batch that the network takes.
          key: of random operations, such as dropout; consumed.
          train: whether the network is told that it trains.
        """
        with mixed(mixture.weights, self.parts):
            return adapt(self.module).apply(params, stats, inputs, key, train=train)

    def with_parts(self, parts: int) -> "ModuleSpace":
        """Returns the space with partial channels, as PC-DARTS (Xu et al., 2020) has.

        While the choices are open, 1/parts of the channels of its first argument enter
        the options of every `Choice`, and the others pass by. Once they are made, all
        enter.

        Args:
          parts: a divisor of the channels; 1: all enter.

        Raises:
          InputError: a `Choice` whose options do not keep the shape of their input.
        """
        if parts == self.parts:
            return self
        shapes = jax.eval_shape(lambda: self.arrays())
        try:
            explore(adapt(self.module), shapes, parts)
        except InputError:
            raise
        # A network is the user's program: its layers may be of all channels.
        except Exception as error:
            raise InputError(
                f"network {self.name!r} does not run with 1/{parts} of the channels in "
                f"its options: {first_line(error)}"
            ) from error
        return dataclasses.replace(self, parts=parts)

    def genotype(self, choices: Mapping[str, object]) -> Genotype:
        """Returns choices as a genotype, which all verbs take.

        Args:
          choices: name of every choice -> option.

        Raises:
          InputError: a choice is missing or unknown, or has no such option.
        """
        return genotype_of(self.space, choices)

    def decide(self, choices: Mapping[str, object] | Genotype) -> object:
        """Returns the user's network with its choices made; see `decide`.

        Args:
          choices: name of every choice -> option, or a genotype.
        """
        return decide(self.module, self.named(choices))

    def discrete(self, choices: Mapping[str, object] | Genotype) -> DiscreteNetwork:
        """Returns the network with its choices made, as pure functions.

        Args:
          choices: name of every choice -> option, or a genotype.
        """
        return DiscreteNetwork(adapt(self.module), self.named(choices), self.example)

    def take(
        self, choices: Mapping[str, object] | Genotype, params: Params, stats: Stats
    ) -> Initialized:
        """Takes the parameters of a network with choices made out of those of all.

        A smaller layer takes the first channels and the centre of a kernel. That both
        networks then compute the same is tested on the example.

        Args:
          choices: name of every choice -> option, or a genotype.
          params: of the network with open choices.
          stats: likewise.

        Returns:
          Parameters and statistics of the network with its choices made.

        Raises:
          InputError: the outputs differ, as behind a norm over channels that a mask
            leaves out.
        """
        named = self.named(choices)
        taken = take_variables(self.discrete(named), params, stats)
        one_hot = {
            d.name: jnp.eye(len(d.options))[None, d.options.index(named[d.name])]
            for d in self.decisions
        }
        inputs, key = self.arrays(), jax.random.key(0)
        discrete = self.discrete(named)

        @jax.jit
        def run(all_of: Initialized, taken: Initialized) -> tuple[Outputs, Outputs]:
            mixture = Mixture(one_hot)
            wanted, _ = self.apply(*all_of, mixture, inputs, key, train=False)
            found, _ = discrete.apply(*taken, inputs, key, train=False)
            return found, wanted

        require_equal(*run(Initialized(params, stats), taken))
        return taken

    def named(self, choices: Mapping[str, object] | Genotype) -> dict[str, str]:
        """Returns name -> option of every choice, checked.

        Args:
          choices: name of every choice -> option, or a genotype.
        """
        if isinstance(choices, Genotype):
            return choices_of(choices)
        return choices_of(self.genotype(choices))

    def reached(self, choices: Mapping[str, object] | Genotype) -> dict[str, str]:
        """Returns the choices that the network with these choices asks for.

        Args:
          choices: name of every choice -> option, or a genotype.
        """
        named = self.named(choices)
        return {d.name: named[d.name] for d in self.decisions if d.is_reached(named)}


def space_of(module: object, example: Inputs, name: str = "") -> ModuleSpace:
    """Finds the choices of a network, and registers them as a space of its name.

    The network is traced once, by shapes alone.

    Example:
      >>> class Net(flax.linen.Module):
      ...     @flax.linen.compact
      ...     def __call__(self, x):
      ...         options = {"dense": flax.linen.Dense(4), "skip_connect": lambda x: x}
      ...         return darts_jax.Choice("first", options)(x)
      >>> space = darts_jax.space_of(Net(), np.zeros((2, 4), np.float32))
      >>> [(decision.name, decision.options) for decision in space.decisions]
      [('first', ('dense', 'skip_connect'))]

    Args:
      module: Linen module, NNX module, function of ``rngs`` that makes an NNX module,
        or `Functions`.
      example: what it takes, a tree of arrays [batch, ...], of which shapes matter.
      name: of the space; by default that of the module's class.

    Returns:
      The space, with the network's pure functions.

    Raises:
      InputError: the network has no choices, one that cannot be, two of one name, or
        options whose outputs differ in shape; or the name is a built-in space's.
    """
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)), example
    )
    decisions = tuple(explore(adapt(module), shapes).decisions.values())
    name = name or _name_of(module)
    if not decisions:
        raise InputError(
            f"network {name!r} has no choices; want a darts_jax.Choice, InputChoice or "
            "ValueChoice that it calls"
        )
    if name in SPACES and not isinstance(SPACES[name], ChoiceSpace):
        raise InputError(f"{name!r} is a space of this package; want another name")
    space = module_space(name, decisions)
    SPACES[name] = space
    return ModuleSpace(module, space, example)


def decide(module: Network, choices: Mapping[str, object] | Genotype) -> Network:
    """Returns a user's network with its choices made.

    What is not chosen is not computed and, in Linen, has no parameters; those of the
    rest have the names that they have in the network with open choices.

    Args:
      module: Linen module, NNX module, function that makes one, `Functions`, or any
        function with choices.
      choices: name -> option, or a genotype; those of other networks are ignored.

    Returns:
      A Linen module; for an NNX module or a function one that is called like it;
      `Functions` for `Functions`.
    """
    given = choices_of(choices) if isinstance(choices, Genotype) else choices
    named = {str(name): str(option) for name, option in given.items()}
    try:
        made: Any = adapt(module).decide(named)
    except InputError:
        if not callable(module):
            raise
        made = DecidedFunction(module, named)
    # What is called like a network passes for it.
    network: Network = made
    return network


def _name_of(module: object) -> str:
    if isinstance(module, Functions):
        return getattr(module.apply, "__name__", "network").strip("<>")
    name = getattr(module, "__name__", type(module).__name__)
    return str(name).strip("<>")
