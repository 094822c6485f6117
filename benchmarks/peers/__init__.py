"""The small app that benchmarks/peers.py runs under each peer, and what runs it there."""
