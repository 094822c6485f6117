# run: {here}/data/null.txt
