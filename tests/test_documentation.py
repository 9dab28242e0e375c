"""Docstrings: a subject first, every argument by name, shapes, sources, examples."""

import ast
import dataclasses
import functools
import inspect
import re
import textwrap

import pytest

import darts_jax
from darts_jax.documentation import implements
from tests.support.paths import ROOT
from tests.support.programs import run_quickly

WITHOUT_SUBJECT = re.compile(
    r"(Of|What|Which|Whether|Where|When|Who|Whose|How|Why|The same|By|As|In|On|From|To"
    r"|With|For|At|If|So|And|Or|One|Per|That|Those|Their|Its|Is|Are)\b"
)
CHOICES = {  # table -> entries that are no published method
    "RELAXATIONS": (),
    "HYPERGRADIENTS": (),
    "ARCHITECTURE_UPDATES": (),
    "REGIMES": (),
    "TERMS": ("entropy",),
    "PERTURBATIONS": ("none",),
    "WEIGHT_HOOKS": ("none",),
    "BUDGET_RULES": (),
    "DISCRETIZATIONS": (),
    "SELECTIONS": (),
    "STOP_RULES": (),
    "BASELINES": (),
    "PREDICTORS": (),
    "EXTRAPOLATIONS": (),
}
TABLES = (*CHOICES, "SOURCES")
RESULT = re.compile(
    r"^(Returns|Computes|Draws|Reads|Loads|Opens|Makes)\b|^(Returns|Yields):", re.M
)
RAISED = ("InputError", "unknown_name_error", "ValueError")
EXAMPLES = (
    "Search",
    "Supernet",
    "Space",
    "Genotype",
    "load_table",
    "search",
    "ablate",
)


def function_of(entry):
    """Returns the function of a table's entry, which may be a record that holds it."""
    if dataclasses.is_dataclass(entry):
        (entry,) = (
            getattr(entry, name)
            for name in ("function", "transformation")
            if hasattr(entry, name)
        )
    return entry.func if isinstance(entry, functools.partial) else entry


def entries():
    for table in TABLES:
        for name, entry in getattr(darts_jax, table).items():
            yield pytest.param(function_of(entry), id=f"{table}[{name}]")


def exported():
    for name in darts_jax.__all__:
        thing = getattr(darts_jax, name)
        if inspect.isfunction(thing):
            yield pytest.param(thing, id=name)
        elif inspect.isclass(thing):
            for part, method in vars(thing).items():
                method = getattr(method, "__func__", method)
                own = inspect.isfunction(method) and method.__module__ != "flax.struct"
                if (
                    own
                    and not part.startswith("_")
                    and part not in ("replace", "clone")
                ):
                    yield pytest.param(method, id=f"{name}.{part}")


def section(doc, title):
    """Returns the indented lines under ``title:`` of a docstring."""
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)*)", doc, re.M)
    return found[1] if found else ""


@pytest.mark.parametrize("function", [*exported(), *entries()])
def test_a_function_says_its_arguments_results_and_errors(function):
    doc = inspect.getdoc(function)
    assert doc
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    arguments = [a for a in arguments if a.arg not in ("self", "cls")]
    # One line may name the only argument.
    said = section(doc, "Args") or f" {doc}" * (doc.count("\n") == 0)
    missing = [
        a.arg
        for a in arguments
        if not re.search(rf"^ +{a.arg}\b|``{a.arg}``", said, re.M)
    ]
    assert not missing, f"no word on {missing}"
    named = re.findall(r"^ {2}(\w+):", section(doc, "Args"), re.M)
    unknown = set(named) - set(inspect.signature(function).parameters)
    assert not unknown, f"has no {unknown}"
    returns = ast.unparse(node.returns) if node.returns else "None"
    if returns != "None":
        assert RESULT.search(doc), "no word on what it returns"
    raised = {
        call.func.id
        for raising in ast.walk(node)
        if isinstance(raising, ast.Raise)
        for call in ast.walk(raising)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    if raised & set(RAISED):
        assert section(doc, "Raises"), f"raises {raised}"
    for argument in arguments:
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        if re.search(r"\b(Array|ndarray)\b", kind):
            assert "[" in kind, f"{argument.arg} has no shape"


@pytest.mark.parametrize(
    "thing",
    [
        pytest.param(thing, id=name)
        for name in darts_jax.__all__
        if inspect.isclass(thing := getattr(darts_jax, name))
    ],
)
def test_a_class_says_what_it_is_and_its_fields(thing):
    doc = inspect.getdoc(thing)
    assert doc
    if dataclasses.is_dataclass(thing):
        names = [
            field.name
            for field in dataclasses.fields(thing)
            if not field.name.startswith("_") and field.name not in ("parent", "name")
        ]
        said = section(doc, "Attributes") + section(doc, "Args")
        missing = [n for n in names if not re.search(rf"\b{n}\b", said)]
        assert not missing, f"no word on {missing}"


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (table, name)
        for table, own in CHOICES.items()
        for name in getattr(darts_jax, table)
        if name not in own
    ],
)
def test_a_published_choice_names_its_source(table, name):
    function = function_of(getattr(darts_jax, table)[name])
    doc = inspect.getdoc(function)
    assert re.search(r"\b(19|20)\d\d\b", doc)


class Slot:
    """Signature of a slot.

    Args:
      x: a number.
      y: a number,
        in two lines.

    Returns:
      A number.

    Raises:
      ValueError: there is none.
    """


def test_a_function_takes_from_its_slot_what_it_does_not_say():
    @implements(Slot)
    def add(x, y, z):
        """Adds three.

        Args:
          y: its own.
          z: another.

        Returns:
          The sum.
        """
        return x + y + z

    assert " ".join(inspect.getdoc(add).split()) == (
        "Adds three. Args: x: a number. y: its own. z: another. Returns: The sum. "
        "Raises: ValueError: there is none."
    )
    assert add(1, 2, 3) == 6


def test_a_method_names_its_source_and_an_operation_says_what_it_is():
    for method in darts_jax.METHODS.values():
        assert re.search(r"\b(19|20)\d\d\b", method.source)
    for make in darts_jax.OPERATIONS.values():
        assert inspect.getdoc(type(make(4, 2, False)))


PATHS = sorted(
    path.relative_to(ROOT)
    for folder in ("darts_jax", "tests", "benchmarks", "configs", "docs")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_docstring_begins_with_its_subject(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            doc = ast.get_docstring(node) or ""
            here = f"{path}:{getattr(node, 'lineno', 1)}: {doc[:60]}"
            assert not WITHOUT_SUBJECT.match(doc), here


RUN_EXAMPLES = """
import doctest
import darts_jax, jax, numpy as np

globs = {"darts_jax": darts_jax, "jax": jax, "np": np}
for name in NAMES:
    for test in doctest.DocTestFinder(recurse=False).find(
        getattr(darts_jax, name), name, globs=globs
    ):
        assert test.examples, name
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        assert runner.run(test, clear_globs=False).failed == 0
        globs |= test.globs
"""


def test_examples_give_what_they_say(tmp_path):
    run_quickly(f"NAMES = {EXAMPLES}{RUN_EXAMPLES}", tmp_path)
