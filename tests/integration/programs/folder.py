# run: {here}/extra/folder a b
