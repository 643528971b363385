"""
What a merge request would become, made by our own git: not every GitLab makes it, and theirs may be of an earlier main.

The merge is the same commit whoever makes it of the same two, so each job makes its own and none has to be pushed.
"""

from __future__ import annotations

import re
from pathlib import Path

from mspctl.errors import InputError
from mspctl.git.command import Git

# Of what is checked out nothing is run, nor is anything fetched that it names.
BARE = ("-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false")
_COMMIT = re.compile(r"[0-9a-f]{40,64}", re.ASCII)


def merged(root: Path, number: int, head: str, into: Path) -> str:
    """
    Check out, in the new folder `into`, the merge of what is checked out in `root` and `head`, the last commit of the
    merge request `number`; the merge's id. Raises InputError when they do not merge, or when it has another head.
    """
    git = Git(root)
    if not _COMMIT.fullmatch(head):
        raise InputError.at("", f"{head!r} is no commit")
    if into.exists():
        raise InputError.at(str(into), "is there already")
    remote = git.remote("the customers")
    git.checked(git.call("fetch", "--quiet", "--no-tags", remote, f"refs/merge-requests/{number}/head"))
    tip = git("rev-parse", "FETCH_HEAD").strip()
    if tip != head:
        raise InputError.at(
            "", f"!{number} has gone on since {head[:12]}; the pipeline of what it is now says the rest"
        )
    here = git("rev-parse", "HEAD").strip()
    tree = git.call("merge-tree", "--write-tree", "--name-only", "--no-messages", here, head)
    if tree.code:
        files = tree.text.splitlines()[1:]
        shown = files[0] if files and files[0].isprintable() else repr(files[:1])
        more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
        raise InputError.at("", f"!{number} does not merge into {here[:12]}: {shown}{more} differ on both sides")
    when = git("show", "--no-patch", "--format=%ct", head).strip()
    commit = _commit(git, tree.text.split()[0], here, head, f"Merge !{number}", when)
    git(*BARE, "worktree", "add", "--quiet", "--detach", str(into.absolute()), commit)
    return commit


def _commit(git: Git, tree: str, base: str, head: str, text: str, when: str) -> str:
    """As git's own object: `commit-tree` would take the time from the clock."""
    who = f"mspctl <mspctl@localhost> {when} +0000"
    said = f"tree {tree}\nparent {base}\nparent {head}\nauthor {who}\ncommitter {who}\n\n{text}\n"
    return git("hash-object", "-t", "commit", "-w", "--stdin", data=said).strip()
