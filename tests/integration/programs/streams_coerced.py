# env: LANG=-
import locale
import os
import sys

print(
    sys.stdout.encoding, sys.stdout.errors, locale.setlocale(locale.LC_ALL), os.environ["LC_CTYPE"]
)
