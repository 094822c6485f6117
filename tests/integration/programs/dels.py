import sys


class Thing:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("del", self.name, sys is not None, "Thing" in globals(), sys.is_finalizing())


class Cycle(Thing):
    def __init__(self, name):
        super().__init__(name)
        self.me = self


_private = Thing("private")
public = Thing("public")
cycle = Cycle("cycle")
in_default = lambda value=Thing("default"): value  # noqa
Thing.attribute = Thing("on the class")
sys.attribute = Thing("on a module of the interpreter")


def function():
    local = Thing("local")
    try:
        1 / 0
    finally:
        print("leaving")


function()
