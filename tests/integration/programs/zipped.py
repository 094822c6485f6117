# run: {built}/app.zip x
