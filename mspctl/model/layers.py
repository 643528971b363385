"""
One mapping laid on another: a customer's section on its baseline's, a zone on the defaults.

Mappings merge by key, a list replaces the one below it unless it is written `{add: […]}` or `{remove: […]}`. Every
value keeps its own place.
"""

from __future__ import annotations

from mspctl.strict_yaml import Data, Map, Seq


def merge(below: Map, over: Map) -> Map:
    """`over` laid on `below`, key by key; every value keeps its own place."""
    merged = Map()
    for key in (*below, *(k for k in over if k not in below)):
        if key not in over:
            merged[key], merged.marks[key] = below[key], below.marks[key]
        else:
            merged[key], merged.marks[key] = _laid(below.get(key), over[key]), over.marks[key]
    return merged


def _laid(below: Data, over: Data) -> Data:
    if isinstance(over, Map) and over and over.keys() <= {"add", "remove"} and not isinstance(below, Map):
        return _changed(below if isinstance(below, Seq) else Seq(), over)
    if isinstance(below, Map) and isinstance(over, Map):
        return merge(below, over)
    return over


def _changed(below: Seq, over: Map) -> Data:
    added, removed = over.get("add") or Seq(), over.get("remove") or Seq()
    if not (isinstance(added, Seq) and isinstance(removed, Seq)):
        return over
    changed = Seq()
    for source in (below, added):
        for item, mark in zip(source, source.marks, strict=True):
            if item not in removed or source is added:
                changed.append(item)
                changed.marks.append(mark)
    return changed
