import gc
import weakref


class Node:
    pass


print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.garbage)
node = Node()
node.me = node
gone = weakref.ref(node)
del node
for _ in range(200_000):
    lump = [[]]
    lump[0].append(lump)
print(gone() is None)
