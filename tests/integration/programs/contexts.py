import contextvars
import decimal
import locale
import sys

print(decimal.getcontext(), decimal.Decimal(1) / 3)
print(locale.setlocale(locale.LC_ALL), locale.localeconv()["decimal_point"], locale.getlocale())
print(len(contextvars.copy_context()), sys.getrecursionlimit(), sys.getswitchinterval())
variable = contextvars.ContextVar("variable", default=1)
variable.set(2)
print(contextvars.copy_context()[variable])
