import os
import tempfile

print(tempfile.gettempdir() == os.environ["TMPDIR"])
folder = tempfile.TemporaryDirectory()
open(os.path.join(folder.name, "inside"), "w").close()
named = tempfile.NamedTemporaryFile()
kept = tempfile.NamedTemporaryFile(delete=False, prefix="kept", dir=".")
os.rename(kept.name, "kept")
kept.write(b"kept")
print(os.path.exists(folder.name), os.path.exists(named.name))
