# merged: yes
import logging
import logging.handlers
import warnings

logging.warning("first")
logging.basicConfig(
    level=logging.INFO, format="%(levelname)s %(name)s %(processName)s %(message)s", force=True
)
memory = logging.handlers.MemoryHandler(100, target=logging.FileHandler("memory.log"))
logging.getLogger("held").addHandler(memory)
logging.getLogger("held").info("flushed at exit")
logging.captureWarnings(True)
warnings.warn("a warning", stacklevel=1)
print(logging.getLogger().handlers, logging.getLogger("held").getEffectiveLevel())
try:
    {}["key"]
except KeyError:
    logging.exception("with a traceback")
