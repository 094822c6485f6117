# run: {here}/data/broken.txt
