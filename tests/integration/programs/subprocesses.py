import subprocess
import sys

done = subprocess.run(["cat"], input="through cat\n", text=True, capture_output=True)
print(done)
print(subprocess.run("echo out; echo err >&2; exit 3", shell=True).returncode)
with subprocess.Popen(["sort", "-r"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sort:
    print(sort.communicate(b"a\nb\nc\n"))
code = "import sys; print(sys.argv, sys.flags.ignore_environment, sys.stdin.read())"
print(subprocess.run([sys.executable, "-c", code, "x"], input=b"in", capture_output=True).stdout)
try:
    subprocess.run(["/no/such/program"])
except FileNotFoundError as error:
    print(error)
killed = subprocess.Popen(["sleep", "60"])
killed.kill()
print(killed.wait())
