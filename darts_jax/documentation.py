"""Documentation of the functions that implement one signature, written once.

A slot of a method has a protocol, whose docstring says what a function of the slot is
given and what it returns. The functions say only what is their own.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_SECTION = re.compile(r"^(Args|Returns|Raises):\n", re.M)
_ARGUMENT = re.compile(r"^  (?=\w+:)", re.M)


def implements(signature: type) -> Callable[[F], F]:
    """Completes a function's docstring from that of the protocol that it implements.

    Arguments that only the function has, and those of which it has more to say, stand
    in its own docstring; all else is the protocol's: other arguments, result, errors.

    Args:
      signature: protocol with Args and Returns in its docstring.

    Returns:
      Decorator, which returns the function itself.
    """

    def complete(function: F) -> F:
        if function.__doc__:  # There is none under `python -OO`.
            function.__doc__ = _merge(_sections(signature), _sections(function))
        return function

    return complete


def _merge(general: dict[str, str], own: dict[str, str]) -> str:
    arguments = _arguments(general["Args"]) | _arguments(own.get("Args", ""))
    sections = {
        "Args": "".join(f"  {name}:{said}" for name, said in arguments.items()),
        "Returns": own.get("Returns", general["Returns"]),
        "Raises": own.get("Raises", general.get("Raises", "")),
    }
    parts = [f"{title}:\n{said.rstrip()}" for title, said in sections.items() if said]
    return "\n\n".join([own[""].strip(), *parts]) + "\n"


def _sections(documented: Any) -> dict[str, str]:
    """Returns title -> text of a docstring; the part before all titles has ""."""
    parts = _SECTION.split(inspect.getdoc(documented) or "")
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def _arguments(section: str) -> dict[str, str]:
    """Returns name -> what the section Args says of it."""
    said = _ARGUMENT.split(section)[1:]
    return {
        name: text.rstrip() + "\n"
        for name, _, text in (argument.partition(":") for argument in said)
    }
