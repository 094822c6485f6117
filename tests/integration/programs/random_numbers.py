import random
import secrets
import uuid

drawn = [random.random(), secrets.token_hex(), uuid.uuid4(), uuid.uuid1()]
children = {repr(drawn)}
random.seed(1)
print(random.random(), random.Random(2).random(), len(set(drawn)))
