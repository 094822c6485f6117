# env: PYTHONWARNINGS=error::UserWarning,ignore::DeprecationWarning,once
import sys
import warnings

print(sys.warnoptions)
warnings.warn("ignored", DeprecationWarning)
warnings.warn("shown", RuntimeWarning)
warnings.warn("raised")
