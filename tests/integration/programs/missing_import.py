import sys

print("before", file=sys.stderr)
import no_such_module_anywhere  # noqa
