"""Genotypes in every form and file that people have them in."""

import collections
import json
import re

import numpy as np
import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.published import NAMED, PUBLISHED
from darts_jax.spaces.published_mobile import MOBILE_NETWORKS
from darts_jax.spaces.recurrent import PUBLISHED_RECURRENT

CELLS = {n: g for n, g in PUBLISHED.items() if n not in MOBILE_NETWORKS}
LAST = PUBLISHED["PDARTS"]
NB201 = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"


def quiet(note):
    raise AssertionError(f"nothing was to be told, but {note}")


def rows_of(cell):
    return [(choice.operation, choice.source) for choice in cell.choices]


def printed(genotype):
    """The named tuple of quark0/darts, cnn/genotypes.py, as Python 3 prints it."""
    parts = []
    for kind, cell in genotype.cells.items():
        first, last = cell.output[0], cell.output[-1]
        ranged = cell.output == (*range(first, last + 1),)
        concat = f"range({first}, {last + 1})" if ranged else list(cell.output)
        parts.append(f"{kind}={rows_of(cell)}, {kind}_concat={concat}")
    return f"Genotype({', '.join(parts)})"


def written(genotype):
    """Returns a genotype as in a source file: a name, lines, comments, other quotes."""
    text = printed(genotype).replace("'", '"').replace("Genotype(", "Genotype(\n  ")
    text = text.replace("=[", " = [\n    # two of a node\n    ").replace(
        "), (", "),\n("
    )
    return f"from collections import namedtuple\n\nFOUND = {text[:-1]},\n)\n"


def grouped(genotype):
    """The named tuple of D-X-Y's code: a node's pairs together, two fields empty."""
    text = printed(genotype)
    for cell in genotype.cells.values():
        rows = rows_of(cell)
        nodes = [tuple(rows[i : i + 2]) for i in range(0, len(rows), 2)]
        text = text.replace(str(rows), str(nodes), 1)
    return text[:-1] + ", connectN=None, connects=None)"


def dictionary(genotype):
    pairs = {kind: rows_of(cell) for kind, cell in genotype.cells.items()}
    concats = {f"{k}_concat": list(c.output) for k, c in genotype.cells.items()}
    return str(pairs | concats)


def as_json(genotype):
    return json.dumps(
        {kind: rows_of(cell) for kind, cell in genotype.cells.items()}
        | {f"{kind}_concat": cell.output for kind, cell in genotype.cells.items()}
    )


@pytest.mark.parametrize("form", [printed, written, grouped, dictionary, as_json, repr])
def test_every_published_cell_is_read_in_every_form(form, tmp_path):
    path = tmp_path / "genotype.txt"
    for name, genotype in CELLS.items():
        text = form(genotype)
        assert darts_jax.read_genotype(text, quiet) == genotype, name
        assert darts_jax.get_genotype(text) == genotype, name
        path.write_text(text)
        assert darts_jax.read_genotype(path, quiet) == genotype, name


def test_every_published_network_is_read_by_name_json_and_repr():
    for name, genotype in NAMED.items():
        for text in (name, genotype.to_json(), repr(genotype)):
            assert darts_jax.read_genotype(text, quiet) == genotype


def test_published_recurrent_cells_are_read_as_their_code_prints_them():
    for genotype in PUBLISHED_RECURRENT.values():
        (cell,) = genotype.cells.values()
        for concat in (list(cell.output), f"range(1, {cell.output[-1] + 1})"):
            text = f"Genotype(recurrent={rows_of(cell)}, concat={concat})"
            if concat == list(cell.output) or len(cell.output) == 8:
                assert darts_jax.read_genotype(text, quiet) == genotype


FAIR = """FairDARTS_c = Genotype(normal=[('max_pool_3x3', 2, 0), ('sep_conv_5x5', 2, 1),
    ('dil_conv_3x3', 4, 0), ('dil_conv_5x5', 4, 2), ('skip_connect', 5, 3),
    ('sep_conv_3x3', 5, 0)], normal_concat=range(2, 6),
    reduce=[('dil_conv_3x3', 2, 1), ('dil_conv_5x5', 2, 0), ('dil_conv_3x3', 3, 0),
    ('sep_conv_3x3', 3, 1), ('sep_conv_5x5', 4, 0), ('sep_conv_5x5', 4, 3),
    ('sep_conv_5x5', 5, 0), ('skip_connect', 5, 1)], reduce_concat=range(2, 6))"""


def test_triples_name_their_node():
    """FairDARTS's network has no state 3 here, and leaves out the edge from it."""
    notes = []
    genotype = darts_jax.read_genotype(FAIR, notes.append)
    normal = genotype.cells["normal"]
    reduction = genotype.cells["reduce"]
    assert [(c.source, c.target) for c in normal.choices] == [
        *((0, 2), (1, 2), (0, 4), (2, 4), (0, 5))
    ]
    assert normal.output == (2, 4, 5)
    assert len(reduction.choices) == 8
    assert notes[0] == (
        "state 3 of normal keeps no edges; the rule of space 'darts' keeps 2"
    )
    turned = re.sub(r", (\d), (\d)\)", r", \2, \1)", FAIR)
    assert turned != FAIR
    assert darts_jax.read_genotype(turned, notes.append) == genotype
    mixed = FAIR.replace("2, 0)", "0, 2)", 1)
    with pytest.raises(InputError, match="want one order"):
        darts_jax.read_genotype(mixed)
    missing = {"inputs": 2, "edges": [["skip_connect", 0, 2]], "output": [2]}
    tree = {"space": "darts", "cells": {"normal": missing, "reduce": missing}}
    assert Genotype.from_json(json.dumps(tree)).cells["normal"].output == (2,)


LOG = f"""12/01 10:00:00 AM args = Namespace(arch='DARTS', layers=8)
12/01 10:05:00 AM epoch 0 lr 2.500000e-02
12/01 10:05:00 AM genotype = {printed(PUBLISHED["DARTS_V1"])}
12/01 10:35:00 AM epoch 1 lr 2.498000e-02  | 45.3 %
12/01 10:35:00 AM genotype = {printed(LAST)}
tensor([[0.1250, 0.1249]], device='cuda:0', grad_fn=<SoftmaxBackward>)
12/01 11:05:00 AM valid_acc 88.540001
"""


def test_the_last_of_a_log_is_taken_and_that_is_said(tmp_path, capsys):
    path = tmp_path / "log.txt"
    path.write_text(LOG)
    out = ["--out", str(tmp_path / "cell")]
    assert main(["draw", str(path), *out]) == 0
    told = capsys.readouterr().err
    assert told == f"{path}: the genotype on line 5 is taken, the last of 2\n"
    with pytest.warns(UserWarning, match="line 5 is taken, the last of 2"):
        assert darts_jax.read_genotype(path) == LAST
    (only,) = [line for line in LOG.splitlines() if printed(LAST) in line]
    assert darts_jax.read_genotype(only, quiet) == LAST
    path.write_text(f"{LOG}best arch: Structure(4 nodes with {NB201})\n")
    with pytest.warns(UserWarning, match="line 8 is taken, the last of 3"):
        assert darts_jax.read_genotype(path).to_nasbench201() == NB201
    # One that is cut off is not passed over for an earlier one.
    for end in (40, 200, 12):
        path.write_text(LOG + printed(LAST)[:end])
        assert main(["draw", str(path), *out]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"{path}: line 8, the last of 3 genotypes: it is cut off" in told


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", [printed(LAST), LAST.to_json(), LOG])
def test_any_encoding_with_its_mark_is_read(encoding, text, tmp_path):
    path = tmp_path / "genotype"
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    path.write_bytes((mark + text).replace("\n", "\r\n").encode(encoding))
    assert darts_jax.read_genotype(path, lambda note: None) == LAST


def test_bytes_that_are_no_text_beside_a_genotype_are_passed_over(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"caf\xe9 \xff\n" + printed(LAST).encode() + b"\n\x80")
    assert darts_jax.read_genotype(path, quiet) == LAST


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no text in UTF-8"),
        (printed(LAST).encode("utf-16-le"), "no mark of UTF-16"),
        (b"\xff\xfe\xfd", "not a genotype"),
        (b"caf\xe9", "not a genotype"),
        (b"", "not a genotype"),
        (b"[]", "not a genotype"),
        (b"{", "not a genotype"),
        (b"{'normal': [], ", "cut off"),
        (b"Genotype(" + b"# " * 20_000, "not a genotype"),
        (b'{"a":' * 50_000, "nested too deep"),
        (b"Genotype(normal=" + b"[" * 50_000, "nested more than"),
        (b"Genotype(normal=['" + b"x" * 200_000 + b"'])", "longer than"),
        (b"Genotype(normal=[open('/etc/passwd')], a=1)", "no call"),
        (b"Genotype(normal=[('none', 0)] * 8, normal_concat=[2])", "'*'"),
        (b"Genotype(normal=[('none', x)], normal_concat=[2])", "'x' is a name"),
        (b"Genotype(normal=range(10**9), normal_concat=[2])", "not a genotype"),
        (b"Genotype(normal=[], normal_concat=range(0, 999999999))", "no range"),
        (b"Genotype(normal=[], normal=[], normal_concat=[2])", "given twice"),
        (b'{"space": "darts", "space": "darts", "cells": {}}', "given twice"),
    ],
)
def test_what_holds_no_genotype_is_refused_in_a_line_with_its_file(
    data, told, tmp_path, capsys
):
    path = tmp_path / "some.txt"
    path.write_bytes(data)
    assert main(["draw", str(path), "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"darts-jax: {path}: ")
    assert told in error
    assert error.count("\n") == 1
    assert len(error) < 500


def test_what_is_no_path_is_refused(tmp_path, capsys, monkeypatch):
    for text, told in {
        "x" * 5000: "unknown genotype 'xxx",
        "a\0b": "unknown genotype 'a\\x00b'",
        "[" * 90_000: "unknown genotype '[[[",
        str(tmp_path): "no genotype in directory",
        str(tmp_path / "none.json"): "no genotype file",
        "runs/none": "no genotype file 'runs/none'",
    }.items():
        assert main(["draw", text, "--out", str(tmp_path / "x")]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="goes on to its end, or `select"):
        darts_jax.read_genotype(tmp_path)
    # A path comes before a published name of the same letters.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "GDAS_V1").write_text(LAST.to_json())
    assert darts_jax.read_genotype("GDAS_V1") == LAST
    assert darts_jax.get_genotype("GDAS_V1") == PUBLISHED["GDAS_V1"]


def changed(change):
    tree = json.loads(NAMED["DARTS_V2"].to_json())
    change(tree["cells"]["normal"], tree)
    return json.dumps(tree)


def edge(index, place, value):
    return changed(lambda cell, tree: cell["edges"][index].__setitem__(place, value))


def cell_has(**values):
    return changed(lambda cell, tree: cell.update(values))


def recurrent_has(edge):
    tree = json.loads(NAMED["DARTS_V2_recurrent"].to_json())
    tree["cells"]["recurrent"]["edges"].append(edge)
    return json.dumps(tree)


def pairs_but(count):
    tree = json.loads(as_json(PUBLISHED["DARTS_V2"]))
    tree["reduce"] = tree["reduce"][:count]
    return json.dumps(tree)


TWO = "|none~0|+|none~0|none~1|"
MALFORMED = {
    "a state that does not exist": (edge(0, 2, 9), "there is no state 9"),
    "both edges into a node missing": (
        changed(lambda cell, tree: cell["edges"].__delitem__(slice(2, 4))),
        "state 3 of normal of the genotype keeps no edges",
    ),
    "no inputs": (cell_has(inputs=0), "has 0 inputs; that of space 'darts' has 2"),
    "one input": (cell_has(inputs=1), "has 1 inputs; that of space 'darts' has 2"),
    "a doubled edge": (edge(0, 1, 1), "edge 1->2 is kept twice"),
    "an output of inputs": (cell_has(output=[0, 1]), "output [0, 1]; space 'darts'"),
    "an output out of order": (cell_has(output=[5, 4, 3, 2]), "wants [2, 3, 4, 5]"),
    "half a source": (edge(0, 1, 0.5), "source is 0.5; want a whole number"),
    "true as a source": (edge(0, 1, True), "source is True; want a whole number"),
    "text as a source": (edge(0, 1, "0"), "source is '0'; want a whole number"),
    "inputs in text": (cell_has(inputs="2"), "inputs of cell 'normal'"),
    "an operation that is none": (edge(0, 0, "conv"), "unknown operation 'conv'"),
    "an operation that is no text": (edge(0, 0, 3), "operation is 3; want its name"),
    "an edge backwards": (edge(2, 1, 3), "edge 3->3"),
    "one more kind": (
        changed(lambda cell, tree: tree["cells"].update(other=cell)),
        "has cells 'normal', 'reduce', 'other'; space 'darts' has cells 'normal'",
    ),
    "a kind too few": (
        changed(lambda cell, tree: tree["cells"].pop("reduce")),
        "has cells 'normal'; space 'darts' has cells 'normal', 'reduce'",
    ),
    "a misspelt key": (cell_has(outputs=[2]), "'outputs', which is not known"),
    "no space of that name": (
        changed(lambda cell, tree: tree.update(space="dart")),
        "unknown space 'dart'; did you mean 'darts'?",
    ),
    "the wrong space": (
        changed(lambda cell, tree: tree.update(space="nasbench201")),
        "has cells 'normal', 'reduce'; space 'nasbench201' has cells 'normal'",
    ),
    "a width of nothing": (
        changed(lambda cell, tree: tree.update(widths={"stem": 0})),
        "width 'stem' of the genotype is 0; want a whole number from 1",
    ),
    "a recurrent node short": (
        json.dumps({"recurrent": [["tanh", 0]] * 7, "concat": [1, 2, 3]}),
        "recurrent of the genotype has a list of 7 edges; space 'recurrent' wants 8",
    ),
    "two edges of a recurrent node": (
        recurrent_has(["tanh", 0, 3]),
        "state 3 of recurrent of the genotype keeps 2 edges; space 'recurrent' wants",
    ),
    "seven pairs": (pairs_but(7), "reduce of the genotype has a list of 7 edges"),
    "six pairs": (pairs_but(6), "reduce of the genotype has a list of 6 edges"),
    "a kind without its concat": (
        '{"normal": [["skip_connect", 0]], "reduce": []}',
        "'normal' lacks edges or concat",
    ),
    "sources out of order": (
        TWO + "+|none~1|none~0|none~2|",
        "node 3 has the sources [1, 0, 2]; want |op~0|op~1|op~2|",
    ),
    "a node short": (TWO, "the string has 2 nodes of one cell"),
    "an entry short": (TWO + "+|none~0|none~1|", "node 3 has the sources [0, 1]"),
    "a bar short": (TWO + "+|none~0|none~1|none~2", "not a NAS-Bench-201 string"),
}


@pytest.mark.parametrize(("text", "told"), MALFORMED.values(), ids=[*MALFORMED])
def test_malformed_genotypes_are_refused_everywhere_in_one_line(
    text, told, tmp_path, capsys
):
    path = tmp_path / "genotype.json"
    path.write_text(text)
    run = ["--run", str(tmp_path / "run")]
    for given in (
        ["draw", str(path), "--out", str(tmp_path / "x")],
        ["cost", str(path)],
        ["cost", text],
        ["retrain", *run, "--genotype", str(path)],
        ["retrain", "--run", str(tmp_path)],
    ):
        assert main(given) == 2, given
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
        assert (str(path) in error) == (text not in given)
    assert sorted(tmp_path.iterdir()) == [path]
    reader = Genotype.from_nasbench201 if text[0] == "|" else Genotype.from_json
    for read in (reader, darts_jax.read_genotype, darts_jax.get_genotype):
        with pytest.raises(InputError, match=re.escape(told)):
            read(text)


def test_malformed_genotypes_that_were_made_by_hand_are_refused(tmp_path):
    cell = PUBLISHED["DARTS_V2"].cells["normal"]
    doubled = CellGenotype(2, (*cell.choices, KeptEdge(2, 0, "none")), cell.output)
    genotype = Genotype("darts", {"normal": doubled, "reduce": cell})
    config = darts_jax.default_config()
    with pytest.raises(InputError, match="edge 0->2 is kept twice"):
        darts_jax.retrain(config, tmp_path / "run", genotype)
    with pytest.raises(InputError, match="edge 0->2 is kept twice"):
        darts_jax.draw_genotype(genotype)
    assert not (tmp_path / "run").exists()


def test_an_export_of_a_malformed_genotype_is_refused(tmp_path, capsys):
    text, told = MALFORMED["a state that does not exist"]
    network = {"test_accuracy": 0.5, "genotype": json.loads(text)}
    summary = tmp_path / "summary.json"
    summary.write_text(json.dumps({"networks": [network], "note": ""}))
    assert main(["settings"]) == 0
    (tmp_path / "config.json").write_text(capsys.readouterr().out)
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"{summary}: " in error
    assert told in error
    assert not (tmp_path / "out").exists()


def test_pairs_may_be_what_python_has(tmp_path):
    tree = json.loads(as_json(LAST))
    for kind in ("normal", "reduce"):
        tree[kind] = tuple((name, np.int64(source)) for name, source in tree[kind])
        tree[f"{kind}_concat"] = range(2, 6)
    assert Genotype.from_pairs(tree) == LAST
    named = collections.namedtuple("Published", tree)
    assert Genotype.from_pairs(named(**tree)) == LAST
    with pytest.raises(InputError, match="want a mapping of pairs"):
        Genotype.from_pairs([tree])
    own = Genotype.from_pairs(tree, "darts_no_none")
    assert (own.space, own.cells) == ("darts_no_none", LAST.cells)
    with pytest.raises(InputError, match="unknown operation 'dil_conv_3x3'"):
        Genotype.from_pairs(tree, "s2")
    noise = re.sub(r"'\w+', (\d)", r"'noise', \1", printed(LAST))
    assert darts_jax.read_genotype(noise, quiet).space == "s4"
