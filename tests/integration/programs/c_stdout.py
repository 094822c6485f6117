import ctypes

ctypes.CDLL(None).printf(b"by C, not flushed\n")
print("by Python")
