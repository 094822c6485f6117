# env: PYTHONIOENCODING=latin-1:replace
import sys

print(sys.stdout.encoding, sys.stdout.errors, sys.stderr.encoding, sys.stderr.errors)
print("ä € 😀")
print("ä €", file=sys.stderr)
