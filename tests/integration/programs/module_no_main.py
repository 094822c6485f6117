# run: -m pack.sub
# env: PYTHONPATH={here}/extra
