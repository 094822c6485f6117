def generator():
    try:
        yield 1
    finally:
        print("generator closed")


kept = generator()
next(kept)
print("main ends")
