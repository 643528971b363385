"""
A text that the strict reader took, its data, and the way along a path to what is meant.

An *entry* is a value in its place (with its key or dash); a *trail* is the entries from the root down to the one meant.
Whoever cannot go on along a path gets an InputError that names the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

from mspctl import strict_yaml
from mspctl.edit import tree as yaml_tree
from mspctl.edit.text import Style
from mspctl.edit.tree import Entry, Lines, Node
from mspctl.errors import InputError

Keys: TypeAlias = Sequence[str | int]  # keys (text) and positions in lists (from 0)
Patch: TypeAlias = tuple[int, int, str]  # replace text[start:end]


class Document:
    """A text that the strict reader took, its data, and where everything stands. Its last line is ended."""

    def __init__(self, text: str, eol: str, file: str) -> None:
        problems = strict_yaml.Problems()
        self.data = strict_yaml.parse(text, file, problems)
        if problems:
            raise InputError(problems)
        self.text, self.eol, self.file = text, eol, file
        self.lines = Lines(text)
        tree = yaml_tree.read(text)
        self.end = tree.end
        nothing = Node("scalar", tree.end, tree.end, text.count("\n", 0, tree.end) + 1)
        self.root = tree.root or Entry(nothing, tree.end, tree.end)

    @cached_property
    def style(self) -> Style:
        return yaml_tree.habits(self.text, self.root.value)

    def patched(self, patches: Sequence[Patch], path: Keys) -> Document:
        text = self.text
        for start, end, new in sorted(patches, reverse=True):
            text = text[:start] + new + text[end:]
        try:
            return Document(text, self.eol, self.file)
        except InputError as error:
            raise self.unsafe(path) from error

    def unsafe(self, path: Keys) -> InputError:
        """A patch that did not read back as it should: YAML in a form that we do not know how to change."""
        line = self.trail(path)[0][-1].value.line
        return self.refused("cannot be changed here without touching something else (edit it by hand)", path, line)

    def refused(self, text: str, path: Keys, line: int = 0) -> InputError:
        return InputError.at(self.file, text, line, path=".".join(map(str, path)))

    def trail(self, path: Keys) -> tuple[list[Entry], Keys]:
        """The entries from the root along a path, and what of the path is not there yet."""
        trail = [self.root]
        for depth, step in enumerate(path):
            node = trail[-1].value
            self.refuse_shared(node, path)
            child = self.child(node, step, path[: depth + 1])
            if child is None:
                return trail, path[depth:]
            trail.append(child)
        return trail, ()

    def whole_trail(self, path: Keys) -> list[Entry]:
        trail, missing = self.trail(path)
        if missing:
            raise self.refused("is not there", path, trail[-1].value.line)
        return trail

    def child(self, node: Node, step: str | int, path: Keys) -> Entry | None:
        """The entry below a node; None where a mapping does not have it yet."""
        if isinstance(step, int) and node.what == "seq":
            if 0 <= step < len(node.entries):
                return node.entries[step]
            raise self.refused(f"the list has {len(node.entries)} items", path, node.line)
        if isinstance(step, str) and (node.what == "map" or node.empty):
            return next((entry for entry in node.entries if entry.name == step), None)
        here = {"seq": "a list", "map": "a mapping"}.get(node.what, "text")
        wanted = "a mapping" if isinstance(step, str) else "a list"
        raise self.refused(f"{here} stands here, not {wanted}", path[:-1], node.line)

    def refuse_shared(self, node: Node, path: Keys) -> None:
        """Changing what is repeated by aliases would change other places unseen."""
        if node.repeats:
            first = f"line {node.repeats.line} (*{node.text})"
            raise self.refused(f"repeats {first}; write it out here first, or change it there", path, node.line)
        if node.aliases:
            raise self.repeated(node.aliases[0], path, node)

    def refuse_torn(self, entry: Entry, path: Keys) -> None:
        """What goes away must not hold an anchor that is used elsewhere."""
        for node in [*([entry.key] if entry.key else []), *entry.value.walk()]:
            for alias in node.aliases:
                if not entry.begin <= alias.start < entry.end:
                    raise self.repeated(alias, path, node)

    def repeated(self, alias: Node, path: Keys, node: Node) -> InputError:
        text = f"is repeated on line {alias.line} (*{alias.text}); write it out there first"
        return self.refused(text, path, node.line)
