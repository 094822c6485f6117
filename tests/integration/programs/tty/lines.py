# see: "> "
# type: "hist\x08\x08\x08ory\n"
import readline

readline.parse_and_bind("set enable-bracketed-paste off")
print(repr(input("> ")))
print(
    [
        readline.get_history_item(1 + number)
        for number in range(readline.get_current_history_length())
    ]
)
