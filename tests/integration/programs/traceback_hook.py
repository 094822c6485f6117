import sys


def hook(kind, error, trace):
    print("hook:", kind, error, trace.tb_frame.f_code.co_name, trace.tb_next)
    print(sys.last_type is kind, sys.last_value is error, sys.last_traceback is trace)
    raise LookupError("the hook fails")


sys.excepthook = hook
raise KeyError("lost")
