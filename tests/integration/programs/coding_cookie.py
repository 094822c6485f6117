# run: {here}/data/cookie.txt
