"""Somebody's clone of the customers' repository, and what is on the remote."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Clone:
    clone: Path

    def git(self, *args: str) -> str:
        who = ["-c", "user.name=Paolo", "-c", "user.email=paolo@msp.example"]
        done = subprocess.run(["git", *who, *args], cwd=self.clone, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, file: str, text: str) -> None:
        (self.clone / file).parent.mkdir(parents=True, exist_ok=True)
        (self.clone / file).write_text(text)

    def push(self, branch: str) -> str:
        """Commit what is there, and push it."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", f"on {branch}")
        self.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


def of_remote(folder: Path, remote: str, *args: str) -> str:
    """What git says of the remote as it is now; `folder` keeps what was fetched."""
    place = folder / "seen.git"
    if not place.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", place], check=True)
    fetch = ["git", "fetch", "--quiet", remote, "+refs/*:refs/*"]
    subprocess.run(fetch, cwd=place, check=True, capture_output=True)
    return subprocess.run(["git", *args], cwd=place, check=True, capture_output=True, text=True).stdout
