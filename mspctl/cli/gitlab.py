"""What the commands of `mspctl gitlab` share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mspctl.forge.gitlab import GitLab


def connect() -> GitLab:
    """As a job's environment names it. Raises InputError when something is missing."""
    from mspctl.forge.gitlab import from_environment

    return from_environment(os.environ)
