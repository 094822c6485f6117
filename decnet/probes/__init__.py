"""Looking back at attackers: what their own machines show to whoever asks."""
