"""Several workers as tasks of one process: cheaper than cold processes, and one fate for all."""
