# see: "name? "
# type: "ada\n"
# see: "ada"
# type: "line\xc3\xa9\n"
# see: "more? "
# type: "\x04"
name = input("name? ")
print(repr(name), repr(input()))
try:
    input("more? ")
except EOFError:
    print("the end")
