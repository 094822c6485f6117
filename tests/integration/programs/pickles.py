import dataclasses
import pickle


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


class Plain:
    def __init__(self):
        self.inner = Point(1)

    def __eq__(self, other):
        return self.inner == other.inner


data = pickle.dumps([Point(1, 2), Plain(), Point])
print(pickle.loads(data) == [Point(1, 2), Plain(), Point], Point.__module__, b"__main__" in data)
