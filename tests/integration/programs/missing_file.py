# run: no/such/file.py
