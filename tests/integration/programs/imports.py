import builtins
import json
import sys

print(sys.modules["json"] is json, __builtins__ is builtins, "zygote" in dir(), json.__spec__.name)
print([finder if isinstance(finder, type) else type(finder).__name__ for finder in sys.meta_path])
print(sys.stdlib_module_names >= {"json"}, sys.is_finalizing(), sys.implementation.name)
