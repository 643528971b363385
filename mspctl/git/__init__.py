"""
Git, as far as mspctl keeps things in it: `command.py` starts it, `commit.py` knows what a commit says, `branch.py` and
`cache.py` keep files on a branch. What the files mean is not known here.
"""
