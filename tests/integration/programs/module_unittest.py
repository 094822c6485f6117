# run: -m unittest -v cases
# env: PYTHONPATH={here}/extra NO_COLOR=1
