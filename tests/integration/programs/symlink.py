# run: {built}/link.py
"""A script by a link: its folder is where it really lies."""

import sys

print(sys.path[0], sys.argv, __file__, sep="\n")
