print("out")
raise RuntimeError("from a module")
