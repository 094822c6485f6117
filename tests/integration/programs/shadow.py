# run: {here}/extra/shadow/main.py
