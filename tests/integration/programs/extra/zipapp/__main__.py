import sys

import inner

print(__name__, repr(__package__), __file__, sys.argv, sys.path[0], inner.NAME, inner.read())
raise SystemExit("the archive ends")
