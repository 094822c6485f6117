def forever():
    forever()


try:
    forever()
except RecursionError as error:
    print(error)
try:
    forever()
except RecursionError:
    raise
