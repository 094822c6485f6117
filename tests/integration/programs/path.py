# env: PYTHONPATH={here}/extra:relative:{here}/extra
import sys

print(*sys.path, sep="\n")
