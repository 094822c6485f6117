# run: {here}/data/latin.txt
