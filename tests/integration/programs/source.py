import inspect
import linecache
import sys


def function():
    """With a docstring."""
    return 1


class Kind:
    attribute = function


print(inspect.getsource(function), inspect.getsource(Kind), inspect.getmodule(function))
print(
    inspect.getsourcefile(function) == __file__,
    linecache.getline(__file__, 1),
    sys.modules[__name__],
)
