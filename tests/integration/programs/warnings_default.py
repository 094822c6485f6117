import warnings


def old():
    warnings.warn("old", DeprecationWarning, stacklevel=2)


old()
old()
warnings.warn("a user warning")
warnings.warn("pending", PendingDeprecationWarning)
for _ in range(2):
    warnings.warn("once a place", RuntimeWarning)
open("/dev/null")
