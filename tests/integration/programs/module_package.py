# run: -m pack one two
# env: PYTHONPATH={here}/extra
