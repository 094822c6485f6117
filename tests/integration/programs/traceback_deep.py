import json


class Odd(Exception):
    def __str__(self):
        return "odd\nin two lines"


def down(depth):
    if depth:
        down(depth - 1)
    try:
        json.loads("{")
    finally:
        raise Odd().with_traceback(None)


try:
    down(3)
except* Odd as group:
    group.add_note("a note")
    raise
