# run: -m json.tool --indent 1
# stdin: {"a": [1, 2]}
