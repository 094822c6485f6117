# env: PYTHONPATH={here}/extra/zipapp
from importlib import import_module, metadata, resources

print(resources.files("inner").joinpath("data.txt").read_text(), import_module("inner").read())
print(metadata.version("sqlalchemy") == import_module("sqlalchemy").__version__)
