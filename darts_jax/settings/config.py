"""Configs: one tree of settings, made from the schema and checked against it."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.settings.combinations import refuse_illegal
from darts_jax.settings.schema import all_settings


def default_config() -> ConfigDict:
    """Returns the default of every setting: DARTS, first order, on the embedded digits.

    Returns:
      A locked config: a setting may be changed and none added.
    """
    tree: dict[str, Any] = {}
    for key, setting in all_settings().items():
        *path, last = key.split(".")
        place = tree
        for name in path:
            place = place.setdefault(name, {})
        place[last] = setting.default
    return ConfigDict(tree).lock()


def with_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Returns a copy with single settings changed, and checked.

    Args:
      config: left as it is.
      overrides: ``"search.epochs=3"`` and the like.

    Raises:
      InputError: a setting is unknown, its value is not allowed, or choices exclude
        each other.
    """
    changed = ConfigDict(config.to_dict()).lock()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"setting {override!r} has no value; want {key}=VALUE")
        set_setting(changed, key, _parse(key, text, get_setting(changed, key)))
    validate_config(changed)
    return changed


def config_from_tree(tree: Mapping[str, Any]) -> ConfigDict:
    """Returns the defaults, changed by a tree of settings; they are not checked yet.

    Args:
      tree: section -> name -> value, as JSON has it.

    Raises:
      InputError: a setting is unknown, or of another type.
    """
    config = default_config()
    for key, value in flatten(tree):
        set_setting(config, key, value)
    return config


def validate_config(config: ConfigDict) -> None:
    """Checks what can be checked without data.

    Args:
      config: all settings.

    Raises:
      InputError: a value is not allowed, or choices exclude each other.
    """
    schema = all_settings()
    for key, value in flatten(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"setting {key} is {value}; want a finite number")
        schema[key].values.require(key, value)
    refuse_illegal(config)


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and the value of every leaf of a nested mapping.

    Args:
      tree: a mapping, some of whose values are mappings.
      prefix: put before every key.
    """
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict | ConfigDict):
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def config_to_json(config: ConfigDict) -> str:
    """Returns the settings as JSON, keys sorted.

    Args:
      config: all settings.
    """
    return json.dumps(config.to_dict(), indent=1, sort_keys=True) + "\n"


def config_difference(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns ``"search.epochs: 50 -> 3"`` for every setting that differs.

    Args:
      old: values before the arrow.
      new: values after it.
    """
    before = dict(flatten(old.to_dict()))
    after = dict(flatten(new.to_dict()))
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def get_setting(config: ConfigDict, key: str) -> Any:
    """Returns the value of a setting.

    Args:
      config: all settings.
      key: dotted name, as ``"search.epochs"``.

    Raises:
      InputError: there is no such setting; the message has the nearest one.
    """
    known = dict(flatten(config))
    if key not in known:
        raise unknown_name_error("setting", key, list(known))
    return known[key]


def set_setting(config: ConfigDict, key: str, value: Any) -> None:
    """Changes a setting in place; an integer may stand for a number.

    Args:
      config: a config, locked or not.
      key: dotted name of the setting, as ``"search.epochs"``.
      value: of the type of the default.

    Raises:
      InputError: there is no such setting, or the value has another type.
    """
    default = get_setting(config, key)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise _wrong_type(key, value, default)
    *path, last = key.split(".")
    node = config
    for name in path:
        node = node[name]
    node[last] = value


def _wrong_type(key: str, value: Any, default: Any) -> InputError:
    wanted = {bool: "true or false", int: "an integer", float: "a number"}
    kind = wanted.get(type(default), "a text")
    return InputError(f"setting {key} is {value!r}; want {kind}, such as {default!r}")


def _parse(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise _wrong_type(key, text, default)
        return text.lower() == "true"
    try:
        return type(default)(text)
    except ValueError:
        raise _wrong_type(key, text, default) from None
