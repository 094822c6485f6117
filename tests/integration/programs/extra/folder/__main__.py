import sys

import beside

print(__name__, repr(__package__), __spec__.name, __file__, sys.argv, sys.path[0], beside.NAME)
