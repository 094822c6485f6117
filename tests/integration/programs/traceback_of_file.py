# merged: yes
print("before")


def inner(number):
    return 1 / number


try:
    inner(0)
except ZeroDivisionError as error:
    raise ValueError("outer") from error
