# size: 40 120
import os
import shutil
import sys
import termios

for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream.isatty(), stream.line_buffering, stream.write_through, stream.encoding)
print(os.ttyname(0) == os.ttyname(1) == os.ttyname(2), shutil.get_terminal_size())
modes = termios.tcgetattr(0)
print(bool(modes[3] & termios.ECHO), bool(modes[3] & termios.ICANON), modes[6][termios.VINTR])
modes[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, modes)
print(bool(termios.tcgetattr(0)[3] & termios.ECHO))
