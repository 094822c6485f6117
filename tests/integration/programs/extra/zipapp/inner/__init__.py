from importlib.resources import files

NAME = "inner"


def read():
    return files("inner").joinpath("data.txt").read_text()
