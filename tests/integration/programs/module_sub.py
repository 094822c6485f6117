# run: -m pack.sub.leaf x
# env: PYTHONPATH={here}/extra
