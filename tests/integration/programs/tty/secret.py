# see: "secret: "
# type: "hunter2\n"
import getpass
import sys
import warnings

warnings.simplefilter("ignore")
print(repr(getpass.getpass("secret: ", stream=sys.stderr)))
