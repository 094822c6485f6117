print("pack imported as", __name__)
