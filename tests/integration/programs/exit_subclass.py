class Leave(SystemExit):
    code = 42


print("leaving")
raise Leave("ignored")
