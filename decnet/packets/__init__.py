"""What the sniffer knows of packets: capture, dissection, flows, fingerprints."""
