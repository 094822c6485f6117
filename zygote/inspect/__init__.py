"""One-shot tools that look at floors and workers from outside: what they cost, and why.

Role [K]: they run in a client's process, or in processes of their own, and end. Nothing here is
imported by a manager, a zygote or a worker.
"""
