"""`zygotectl uninstall`: see `zygote.cli.install`."""

from zygote.cli.install import uninstall

__all__ = ["uninstall"]
