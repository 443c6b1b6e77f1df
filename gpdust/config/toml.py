"""Plain values -> a TOML file with comments (Python reads TOML, but does not write it)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping


def render(record: Mapping[str, Mapping], notes: Mapping[str, str], header: Iterable[str] = ()) -> str:
    """Write sections of plain values.

    Parameters
    ----------
    record : mapping
        Section -> key -> value; a value that is a mapping becomes a section of its own, "[section.key]".
    notes : mapping of str to str
        "section" or "section.key" -> comment behind it.
    header : iterable of str
        Comment lines for the top.

    Returns
    -------
    str
    """
    lines = [f"# {line}".rstrip() for line in header]
    for section, keys in record.items():
        lines += _section(section, {key: value for key, value in keys.items() if not isinstance(value, Mapping)}, notes)
        for key, value in keys.items():
            if isinstance(value, Mapping) and value:
                lines += _section(f"{section}.{key}", value, notes)
    return "\n".join(lines) + "\n"


def _section(name: str, keys: Mapping[str, object], notes: Mapping[str, str]) -> list[str]:
    lines = ["", _line(f"[{name}]", notes.get(name))]
    lines += [_line(f"{key} = {_value(value)}", notes.get(f"{name}.{key}")) for key, value in keys.items()]
    return lines


def _line(text: str, note: str | None) -> str:
    return f"{text:40} # {note}" if note else text


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML string
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else repr(value)
