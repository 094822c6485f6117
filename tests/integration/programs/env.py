# env: ONE=1 EMPTY= UTF=ä
import os

print(sorted(os.environ.items()))
os.system("env | sort | grep -v ^_=")
