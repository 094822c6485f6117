# env: LANG=- LC_ALL=C PYTHONUTF8=0
import locale
import os
import sys

print(
    sys.stdout.encoding,
    sys.stdout.errors,
    locale.setlocale(locale.LC_CTYPE),
    "LC_CTYPE" in os.environ,
)
print(ascii(open(os.devnull).encoding))
print("ä")
