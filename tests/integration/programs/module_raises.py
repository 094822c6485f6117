# run: -m pack.raises
# env: PYTHONPATH={here}/extra
# merged: yes
