"""Reference of all settings, made from the schema, for the terminal and the pages."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from darts_jax.settings.combinations import EXCLUSIONS
from darts_jax.settings.config import flatten
from darts_jax.settings.schema import all_settings, population_settings
from darts_jax.settings.setting import Setting


def explain_settings(config: ConfigDict) -> str:
    """Returns what every setting is, two lines each, for the terminal.

    Args:
      config: whose values are shown.
    """
    values = dict(flatten(config))
    lines = []
    for key, setting in all_settings().items():
        lines.append(f"{key}={values[key]}   {'; '.join(_facts(key, setting))}")
        lines.append(f"    {setting.help}")
    return "\n".join(lines)


def settings_table() -> str:
    """Returns a Markdown table of all settings: their defaults and what they are."""
    lines = ["| setting | default | what it is | values |", "| --- | --- | --- | --- |"]
    for key, setting in all_settings().items():
        default = str(setting.default) or '""'
        facts = "; ".join(_facts(key, setting))
        lines.append(f"| `{key}` | `{default}` | {setting.help} | {facts} |")
    return "\n".join(lines)


def _facts(key: str, setting: Setting) -> Iterator[str]:
    """Yields the values of a setting, whether members differ, and what it excludes."""
    kinds = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    values = str(setting.values) or kinds[type(setting.default)]
    yield f"{values} {setting.unit}".strip()
    if key in population_settings():
        yield "members of a population may differ in it"
    others = {
        name
        for exclusion in EXCLUSIONS
        if key in exclusion.settings
        for name in exclusion.settings
    }
    if others - {key}:
        yield f"excludes some values of {', '.join(sorted(others - {key}))}"
