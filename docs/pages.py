"""Makes pages of the site from files that are written for other readers.

Notebooks, and pages in the repository's root, are copied into this folder. Links are
written for GitHub, and are mended while Sphinx reads a page. The pages of the API are
written from the package's modules, and their docstrings and signatures made legible.
"""

import ast
import os
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import darts_jax

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGE = ROOT / "darts_jax"
REPOSITORY = "https://github.com/darts-jax/darts-jax"
API = Path("api/modules")

COPIES = {
    Path("project/changelog.md"): ROOT / "CHANGELOG.md",
    Path("project/contributing.md"): ROOT / "CONTRIBUTING.md",
    Path("project/reproduction.md"): ROOT / "REPRODUCTION.md",
    **{
        Path("notebooks") / notebook.name: notebook
        for notebook in sorted((ROOT / "notebooks").glob("*.ipynb"))
    },
}
"""Page of the site, from this folder -> the file that it is a copy of."""

_LINK = re.compile(r"\]\((?!\w+:)([^()\s#]+)((?:#[^()\s]*)?)\)")
_IMAGE = re.compile(r"!\[[^]]*\]\((?!\w+:)([^()\s]+)\)")
_CODE = re.compile(r"(``.+?``|`.+?`)")
_LINEN_FIELDS = re.compile(r", parent: [^=]*= [^,]*, name: [^=]*= None")
_LISTED = 60  # entries of a table
_LONGEST_VALUE = 40  # letters
_ARRAY = re.compile(r"jaxlib\._jax\.Array|jax\._src\.[\w.]*\.Array\b")


def copy_pages() -> None:
    """Copies files from outside this folder to where Sphinx reads them."""
    for page, source in COPIES.items():
        (HERE / page).parent.mkdir(exist_ok=True)
        shutil.copy2(source, HERE / page)


def mend_links(text: str, page: Path) -> str:
    """Returns a page whose links to files lead to pages of the site, or to GitHub.

    Args:
      text: Markdown, or a notebook's JSON.
      page: the page's place, from this folder.
    """
    folder = COPIES.get(page, HERE / page).parent
    pages = {source: copy for copy, source in COPIES.items()}

    def mend(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        if target in pages or target.is_relative_to(HERE):
            place = HERE / pages[target] if target in pages else target
            path = os.path.relpath(place, (HERE / page).parent)
        elif target.is_relative_to(ROOT) and target.exists():
            kind = "tree" if target.is_dir() else "blob"
            path = f"{REPOSITORY}/{kind}/main/{target.relative_to(ROOT)}"
        else:
            return link[0]
        return f"]({path}{link[2]})"

    def name_missing(image: re.Match[str]) -> str:
        # A card that a notebook exported shows a file that lies beside the card.
        return image[0] if (folder / image[1]).exists() else f"`{image[1]}`"

    return _LINK.sub(mend, _IMAGE.sub(name_missing, text))


def rooms() -> list[Path]:
    """Returns the rooms of the package: its folders, and modules beside them."""
    return sorted(
        path
        for path in PACKAGE.iterdir()
        if not path.name.startswith("_")
        and ((path / "__init__.py").exists() or path.suffix == ".py")
    )


def public_modules(room: Path) -> list[str]:
    """Returns the names of a room's modules that define public names.

    Args:
      room: a folder of the package, or a module.
    """
    modules = []
    for path in [room] if room.is_file() else sorted(room.rglob("*.py")):
        if any(not name.startswith("_") for name in _definitions(path)):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            modules.append(name.removesuffix(".__init__"))
    return sorted(modules)


def write_api() -> None:
    """Writes a page for each room, with every module that has public names."""
    (HERE / API).mkdir(exist_ok=True)
    for room in rooms():
        lines = [f"# {room.stem}", ""]
        for module in public_modules(room):
            name = module.removeprefix("darts_jax.")
            lines += [f"## {name}", ""] if name != room.stem else []
            lines += ["```{eval-rst}", f".. automodule:: {module}", "   :members:"]
            lines += ["```", ""]
        page, text = HERE / API / f"{room.stem}.md", "\n".join(lines)
        # Sphinx reads a page again when the file is new.
        if not page.exists() or page.read_text() != text:
            page.write_text(text)
    known = {f"{room.stem}.md" for room in rooms()}
    for page in (HERE / API).iterdir():
        if page.name not in known:
            page.unlink()


def connect(app: Sphinx) -> None:
    """Makes the pages, and connects what follows to the events of a build."""
    copy_pages()
    write_api()
    app.connect("source-read", _mend_source)
    app.connect("autodoc-skip-member", _skip_inherited)
    app.connect("autodoc-process-signature", _shorten_signature)
    # Before napoleon reads the docstring, whose priority is 500.
    app.connect("autodoc-process-docstring", _mend_docstring, priority=400)
    app.connect("doctree-read", _shorten_descriptions)
    app.connect("doctree-read", _describe_pictures)
    app.connect("html-page-context", _hide_source_of_copies)
    app.connect("env-updated", _name_source_modules)


def _definitions(path: Path) -> dict[str, Any]:
    """Returns the statements of a module that define a name by itself."""
    found: dict[str, Any] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {t.id: node for t in targets if isinstance(t, ast.Name)}
    return found


def _mend_source(app: Sphinx, name: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(name, base=False))
    content[0] = mend_links(content[0], page)


def _skip_inherited(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leaves out methods that another library writes into a class."""
    del app, name, skip, options
    module = getattr(obj, "__module__", None)
    is_foreign = callable(obj) and module and not module.startswith("darts_jax")
    return True if what == "class" and is_foreign else None


def _shorten_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Writes arrays as in the source, and leaves out what a reader never gives."""
    del app, name, options
    if what == "class" and getattr(obj, "_is_protocol", False):
        return "", None
    if signature:
        signature = _LINEN_FIELDS.sub("", _ARRAY.sub("Array", signature))
    return signature, result and _ARRAY.sub("Array", result)


def _mend_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Makes a star a star, not emphasis, and describes an exported table."""
    del app, options
    package, _, attribute = name.rpartition(".")
    if what == "data" and package == "darts_jax":
        # Sphinx looks for the text below a definition in this module alone.
        first = darts_jax._PUBLIC[attribute].split(".")[0]
        (room,) = (room for room in rooms() if room.stem == first)
        for module in public_modules(room):
            documented = ModuleAnalyzer.for_module(module).find_attr_docs()
            lines[:] = documented.get(("", attribute), lines)
        if isinstance(obj, dict) and len(obj) < _LISTED:
            lines += ["", "Entries: " + ", ".join(f"`{entry}`" for entry in obj) + "."]
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = _CODE.split(line)
            parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
            lines[i] = "".join(parts)


def _shorten_descriptions(app: Sphinx, tree: nodes.document) -> None:
    """Leaves out long values of data, and writes aliases of types as in the source."""
    del app
    for described in tree.findall(addnodes.desc):
        signature = described.next_node(addnodes.desc_signature)
        if described["domain"] != "py" or signature is None:
            continue
        for annotation in list(signature.findall(addnodes.desc_annotation)):
            text = annotation.astext()
            if text.startswith(" = ") and len(text) > _LONGEST_VALUE:
                annotation.parent.remove(annotation)
        for paragraph in described.findall(nodes.paragraph):
            is_own = paragraph.parent.parent is described
            if is_own and paragraph.astext().startswith("alias of "):
                source = _alias(signature["module"], signature["fullname"])
                code = nodes.literal("", source)
                paragraph.children = [nodes.Text("Alias of "), code, nodes.Text(".")]


def _alias(module: str, name: str) -> str:
    """Returns the source of what a name of a module is an alias of."""
    if module == "darts_jax":
        module = f"darts_jax.{darts_jax._PUBLIC[name]}"
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.unparse(_definitions(path)[name].value)


def _describe_pictures(app: Sphinx, tree: nodes.document) -> None:
    """Gives the picture of an output the output's text as its alternative text."""
    del app
    for output in tree.findall(nodes.container):
        if output.get("nb_element") == "mime_bundle":
            kinds = {part.get("mime_type"): part for part in output.children}
            text = kinds.get("text/plain")
            for kind, part in kinds.items():
                for image in part.findall(nodes.image) if text and kind else ():
                    image["alt"] = text.astext()


def _name_source_modules(app: Sphinx, env: Any) -> None:
    """Links source to the pages of its own module, not to names of `darts_jax`.

    Sphinx's viewcode keeps the module by which it met a source first, and meets most of
    them on the page of what `darts_jax` exports.
    """
    del app
    sources = getattr(env, "_viewcode_modules", {})
    for module, entry in list(sources.items()):
        if entry:
            code, tags, used, _ = entry
            sources[module] = code, tags, used, module
        else:
            del sources[module]  # has no source, such as an alias of a built-in type


def _hide_source_of_copies(
    app: Sphinx, name: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Leaves out the links to a page's source where GitHub has none in this place."""
    del app, template, tree
    page = Path(name + (context.get("page_source_suffix") or ""))
    if page in COPIES or API in page.parents:
        context["page_source_suffix"] = None
