"""Imports between layers: each knows only those below it."""

import ast

from tests.support.paths import ROOT

PACKAGE = ROOT / "darts_jax"
LAYERS = (
    *("errors", "documentation", "types", "jaxprs", "html", "buckets", "files"),
    *("spaces", "kernels", "data", "loggers"),
    *("bilevel", "models", "choices", "cost", "analysis"),
    *("proxies", "baselines", "nasbench"),
    *("settings", "engine", "tasks", "plots"),
    *("training", "interop", "cluster", "workflows", "reports", "cli"),
)
LEVEL = {room: level for level, room in enumerate(LAYERS)}
EQUATION_PARAMETERS = (
    *("num_consts", "num_carry", "ft_in", "ft_out", "call_jaxpr", "branches"),
    *("dimension_numbers", "rhs_spec"),
)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "darts_jax":
                names = [f"darts_jax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (n.split(".")[1] for n in names if n.startswith("darts_jax."))


def test_imports_go_down():
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        for other in imported(path):
            below = LEVEL[other] <= LEVEL[room]
            assert below, f"{path.relative_to(PACKAGE)} imports {other}"


def test_one_module_alone_names_a_parameter_of_an_equation():
    for path in PACKAGE.rglob("*.py"):
        if path.name == "jaxprs.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (
                isinstance(node, ast.Attribute)
                and node.attr == "params"
                and getattr(node.value, "id", None)
                in ("eqn", "equation", "alone", "change")
            ), f"{path}: line {node.lineno}"
            if isinstance(node, ast.Constant):
                assert node.value not in EQUATION_PARAMETERS, f"{path}: {node.lineno}"


def test_spaces_need_the_standard_library_only():
    for path in (PACKAGE / "spaces").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = getattr(node, "module", None) or node.names[0].name
                assert names.split(".")[0] not in ("jax", "numpy", "flax"), path


def test_files_can_be_held_in_the_head():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 600, path


def test_settings_are_read_in_tasks_and_above():
    above = LAYERS.index("settings")
    for room in (*LAYERS[:above], "engine", "plots"):
        for path in (PACKAGE / room).rglob("*.py"):
            assert "settings" not in imported(path), path
            assert "ml_collections" not in path.read_text(), path
