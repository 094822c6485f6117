# run: -m doctest {here}/extra/documented.py
