# run: -c "print('x'"
